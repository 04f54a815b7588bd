# SPDX-License-Identifier: Apache-2.0
"""Recipe definitions that people keep beside their own DAG files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scale_airflow.errors import Fault, InvalidDocument

if TYPE_CHECKING:
    from scale_airflow.definitions.recipe_definition import RecipeDefinition


@dataclass(frozen=True, slots=True)
class UserRecipe:
    """A valid recipe definition with the recipe type that it stands for."""

    name: str
    version: str
    title: str | None
    definition: RecipeDefinition
    document: Mapping[str, Any]

    def adoption(self) -> dict[str, Any]:
        """Return what the first task's claim sends, so that Scale adopts the run."""
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "definition": dict(self.document),
        }


def read_user_recipe(
    path_or_definition: str | Path | Mapping[str, Any],
    folder: Path,
    *,
    name: str | None,
    version: str,
    title: str | None,
) -> UserRecipe:
    """Read and check a recipe definition.

    :param folder: where a relative path starts.
    :raises InvalidDocument: with every fault; those of a file say ``file:line:column``.
    """
    from scale_airflow.definitions.recipe_definition import RecipeDefinition

    if isinstance(path_or_definition, Mapping):
        document: Any = path_or_definition
        if name is None:
            fault = Fault("", "name= is needed where the definition is given as a document, not as a file")
            raise InvalidDocument("recipe definition", [fault])
        definition = RecipeDefinition.parse(document)
        return UserRecipe(name, version, title, definition, document)
    path = folder / path_or_definition
    document, definition = _read(path)
    return UserRecipe(name or path.stem, version, title, definition, document)


def _read(path: Path) -> tuple[Mapping[str, Any], RecipeDefinition]:
    from scale_airflow.definitions.documents import load_json
    from scale_airflow.definitions.recipe_definition import RecipeDefinition
    from scale_airflow.definitions.source import locate

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault(str(path), f"the file can't be read as UTF-8 text: {error}")
        raise InvalidDocument("recipe definition", [fault]) from error
    try:
        document = load_json(text)
        return document, RecipeDefinition.parse(document)
    except InvalidDocument as error:
        located = []
        for fault in error.faults:
            line, column = locate(text, fault.path)
            place = f"{path.name}:{line}:{column} {fault.path or '/'}"
            located.append(Fault(place, fault.message, fault.rule))
        raise InvalidDocument(error.kind, located) from None
