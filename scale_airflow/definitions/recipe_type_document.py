# SPDX-License-Identifier: Apache-2.0
"""A recipe type as requests and export documents give it (specification: Create Recipe Type)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scale_airflow.definitions.documents import nested, structure, text_of
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_type_document import check_rule
from scale_airflow.definitions.recipe_connections import check_connections
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.definitions.trigger_rule_document import (
    UNKNOWN_RULE,
    TriggerRuleDocument,
    read_trigger_rule,
)
from scale_airflow.errors import DocumentWarning

KIND = "recipe-type"


@dataclass(frozen=True)
class RecipeTypeDocument:
    """A recipe type to create, or changes to one.

    ``values`` holds ``title`` and ``description`` where given, both after :meth:`complete`.
    ``definition`` and ``trigger_rule`` are None where not given.
    """

    name: str
    version: str
    values: Mapping[str, Any]
    definition: RecipeDefinition | None
    trigger_rule: TriggerRuleDocument | None
    document: Mapping[str, Any]

    @classmethod
    def parse(cls, document: object) -> RecipeTypeDocument:
        """Read a recipe type to create; the title is by default the name.

        :raises InvalidDocument: every fault found.
        """
        return cls._read(document, structure(KIND, document), creating=True).complete()

    @classmethod
    def parse_changes(cls, document: object, *, existing_rule: str | None = None) -> RecipeTypeDocument:
        """Read changes to a recipe type; its name and version can't be changed.

        :param existing_rule: the type of the trigger rule that the recipe type has.
        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document, required=())
        for name in ("name", "version"):
            if isinstance(document, dict) and name in document:
                message = f"The {name} of a recipe type can't be changed."
                faults.add(f"/{name}", "document.unknown-field", message)
        return cls._read(document, faults, creating=False, existing_rule=existing_rule)

    @classmethod
    def parse_import(cls, document: object) -> RecipeTypeDocument:
        """Read a recipe type of an export document: one to create or to edit.

        Call :meth:`complete` when it does not exist yet, else :meth:`editing`.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document, required=("name", "version"))
        return cls._read(document, faults, creating=False, existing_rule=UNKNOWN_RULE)

    @classmethod
    def _read(
        cls, document: object, faults: Faults, *, creating: bool, existing_rule: str | None = None
    ) -> RecipeTypeDocument:
        given = document if isinstance(document, dict) else {}
        definition = None
        if isinstance(given.get("definition"), dict):
            definition = nested(RecipeDefinition.parse, given["definition"], "/definition", faults)
        rule = read_trigger_rule(given, faults, existing=existing_rule, creating=creating)
        faults.refuse(KIND, document)
        return cls(
            name=text_of(given, "name") or "",
            version=text_of(given, "version") or "",
            values={name: given[name] for name in ("title", "description") if name in given},
            definition=definition,
            trigger_rule=rule,
            document=given,
        )

    def complete(self) -> RecipeTypeDocument:
        """Return the document of a recipe type that does not exist yet, with defaults for what was not given.

        :raises InvalidDocument: there is no definition, or the trigger rule is incomplete.
        """
        faults = Faults()
        if self.definition is None:
            faults.add("", "document.missing-field", 'The required field "definition" is missing.')
        rule = read_trigger_rule(self.document, faults, existing=None, creating=True)
        faults.refuse(KIND, self.document)
        title = self.values.get("title") or self.name
        values = {"description": self.values.get("description"), "title": title}
        return replace(self, values=values, trigger_rule=rule)

    def editing(self, *, existing_rule: str | None) -> RecipeTypeDocument:
        """Return the document of an export as changes to a recipe type that exists.

        :param existing_rule: the type of the trigger rule that the recipe type has.
        :raises InvalidDocument: the trigger rule is incomplete.
        """
        faults = Faults()
        rule = read_trigger_rule(self.document, faults, existing=existing_rule)
        faults.refuse(KIND, self.document)
        return replace(self, trigger_rule=rule)

    def check(
        self,
        *,
        job_types: Mapping[tuple[str, str], JobInterface],
        workspaces: Mapping[str, WorkspaceFacts],
        definition: RecipeDefinition | None = None,
    ) -> list[DocumentWarning]:
        """Check what the document refers to; return warnings.

        :param job_types: the interfaces of all job types that exist, by (name, version).
        :param workspaces: all workspaces that exist, by name.
        :param definition: the definition that stays in force if the document gives none.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        warnings: list[DocumentWarning] = []
        if self.definition is not None:
            own = Faults()
            warnings += check_connections(self.definition, job_types, own)
            faults.extend(own.found, "/definition")
        definition = self.definition or definition
        if definition is not None:
            known = [job_types[each] for each in definition.job_types() if each in job_types]
            has_outputs = any(interface.outputs for interface in known)
            warnings += check_rule(self.trigger_rule, definition.inputs, workspaces, has_outputs, faults)
        faults.refuse(KIND, self.document)
        return warnings
