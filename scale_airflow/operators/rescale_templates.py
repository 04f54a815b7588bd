# SPDX-License-Identifier: Apache-2.0
"""Templated fields that hold commands and job documents: ``${…}`` stays, and a file is what is meant as one.

Jinja leaves ``${x}`` alone, but takes ``${#x}`` for the beginning of a comment and ``${%`` for one of a
statement; and Airflow takes every templated text that ends in one of ``template_ext`` for the name of a file,
also the command ``python run.py case.json`` or an input of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

_SHELL = re.compile(r"\$\{([#%])")


def protected(text: str) -> str:
    """Return a template that renders ``${#`` and ``${%`` as they stand."""
    return _SHELL.sub(r"${{ '{\1' }}", text)


class RescaleTemplates(BaseOperator):
    """The base of operators with templated commands.

    ``template_ext`` counts for the fields of ``document_fields`` alone, where the whole value is one text.
    """

    template_ext: Sequence[str] = (".json", ".yaml", ".yml")
    document_fields: Sequence[str] = ("job",)

    def resolve_template_files(self) -> None:
        """Replace the name of a document's file by its text, when the DAG is parsed."""
        for field in self.document_fields:
            if self._is_file(getattr(self, field, None)):
                setattr(
                    self, field, self._source(getattr(self, field), self.get_template_env(self.get_dag()))
                )
        self.prepare_template()

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        if parent is self:
            # A name that came only now, by mapping.
            for field in self.document_fields:
                if self._is_file(getattr(self, field, None)):
                    setattr(self, field, self._source(getattr(self, field), jinja_env))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a text without taking it for a file's name; all else as Airflow does."""
        if not isinstance(content, str):
            return super().render_template(content, context, jinja_env, seen_oids)
        environment = jinja_env or self.get_template_env()
        return self._render(environment.from_string(protected(content)), context)

    def _is_file(self, value: object) -> bool:
        return isinstance(value, str) and "\n" not in value and value.endswith(tuple(self.template_ext))

    @staticmethod
    def _source(name: str, environment: jinja2.Environment) -> str:
        if environment.loader is None:
            raise ValueError(f"The file {name!r} can't be looked for: the task has no DAG.")
        return environment.loader.get_source(environment, name)[0]
