# SPDX-License-Identifier: Apache-2.0
"""Configurations of trigger rules: ingest, parse and clock (specification: Triggers)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias

from scale_airflow.definitions import media_types
from scale_airflow.definitions.clock import read_schedule
from scale_airflow.definitions.documents import check_unique, rows, structure, text_of
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.input_data import DataInput, WorkspaceFacts
from scale_airflow.definitions.job_interface import InterfaceInput
from scale_airflow.definitions.strike_configuration import check_workspace_name
from scale_airflow.errors import DocumentWarning


@dataclass(frozen=True, slots=True)
class _FileRule:
    """A rule that passes one new file to a job or recipe.

    ``media_type`` is ``""`` if every media type is accepted; ``data_types`` are tags that the file must have.
    """

    TYPE: ClassVar[str]
    KIND: ClassVar[str]

    media_type: str
    data_types: frozenset[str]
    input_data_name: str
    workspace_name: str
    document: Mapping[str, Any] = field(repr=False, compare=False)

    def matches(self, media_type: str, data_types: Collection[str]) -> bool:
        """Say whether a file with this media type and these tags triggers the rule."""
        return self.media_type in ("", media_type) and self.data_types.issubset(data_types)

    def check(
        self,
        inputs: Sequence[InterfaceInput],
        workspaces: Mapping[str, WorkspaceFacts],
        *,
        has_outputs: bool = True,
    ) -> list[DocumentWarning]:
        """Check the rule against the job or recipe type that it starts; return warnings.

        :param inputs: the inputs of the type.
        :param workspaces: all workspaces that exist, by name.
        :param has_outputs: whether the type produces files; the workspace must exist in any case.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        warnings: list[DocumentWarning] = []
        check_workspace_name(self.workspace_name, "/data/workspace_name", workspaces, faults)
        name, place = self.input_data_name, "/data/input_data_name"
        wanted = next((each for each in inputs if each.name == name), None)
        if wanted is None:
            names = [each.name for each in inputs]
            message = f"There is no input {quote(name)}."
            rule = "trigger-rule.unknown-input"
            faults.add_unknown(place, rule, message, what="inputs", name=name, known=names)
        elif wanted.type == "property":
            message = f"The input {quote(name)} is a property, but the rule passes a file to it."
            faults.add(place, "trigger-rule.property-input", message)
        elif not wanted.accepts(self.media_type or media_types.UNKNOWN):
            details = f"Invalid media type for data input: {name} -> {self.media_type or media_types.UNKNOWN}"
            warnings.append(DocumentWarning("media_type", details))
        for each in inputs:
            if each.required and each.name != name:
                message = f"The input {quote(each.name)} is required too, but the rule passes only one file."
                faults.add("/data", "trigger-rule.missing-input", message)
        faults.refuse(self.KIND, self.document)
        return warnings


def _read_file_rule(kind: str, document: object) -> dict[str, Any]:
    """Return the fields of an ingest or parse rule."""
    faults = structure(kind, document)
    faults.refuse(kind, document)
    assert isinstance(document, dict)
    condition, data = document.get("condition", {}), document["data"]
    return {
        "media_type": condition.get("media_type", ""),
        "data_types": frozenset(condition.get("data_types", ())),
        "input_data_name": data["input_data_name"],
        "workspace_name": data["workspace_name"],
        "document": document,
    }


@dataclass(frozen=True, slots=True)
class IngestRule(_FileRule):
    """Starts a job or recipe on every ingested file that meets its condition."""

    TYPE: ClassVar[str] = "INGEST"
    KIND: ClassVar[str] = "ingest-trigger-rule"

    @classmethod
    def parse(cls, document: object) -> IngestRule:
        """Read the configuration of an ingest rule.

        :raises InvalidDocument: every fault found.
        """
        return cls(**_read_file_rule(cls.KIND, document))


@dataclass(frozen=True, slots=True)
class ParseRule(_FileRule):
    """Starts a job or recipe on every parsed source file that meets its condition."""

    TYPE: ClassVar[str] = "PARSE"
    KIND: ClassVar[str] = "parse-trigger-rule"

    @classmethod
    def parse(cls, document: object) -> ParseRule:
        """Read the configuration of a parse rule.

        :raises InvalidDocument: every fault found.
        """
        return cls(**_read_file_rule(cls.KIND, document))


@dataclass(frozen=True, slots=True)
class ClockRule:
    """Starts a job or recipe, or a task of the system, at times that are counted from midnight UTC.

    ``inputs`` are texts for property inputs; ``workspace_name`` is where products are stored, None if the
    rule does not say.
    """

    TYPE: ClassVar[str] = "CLOCK"
    KIND: ClassVar[str] = "clock-trigger-rule"

    event_type: str
    schedule: str
    period: timedelta
    inputs: tuple[DataInput, ...]
    workspace_name: str | None
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> ClockRule:
        """Read the configuration of a clock rule.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(cls.KIND, document)
        schedule = text_of(document, "schedule")
        period = read_schedule(schedule, faults, "/schedule") if schedule is not None else None
        data = document.get("data") if isinstance(document, dict) else None
        places = "/data/input_data/{}/name"
        named = [(places.format(index), text_of(row, "name")) for index, row in rows(data, "input_data")]
        check_unique(faults, "data.duplicate-input", "input", named)
        faults.refuse(cls.KIND, document)
        assert isinstance(document, dict)
        assert period is not None
        given = document.get("data", {})
        return cls(
            event_type=document["event_type"],
            schedule=document["schedule"],
            period=period,
            inputs=tuple(DataInput(row["name"], row["value"]) for row in given.get("input_data", ())),
            workspace_name=given.get("workspace_name"),
            document=document,
        )

    def check(
        self,
        inputs: Sequence[InterfaceInput],
        workspaces: Mapping[str, WorkspaceFacts],
        *,
        has_outputs: bool = True,
    ) -> list[DocumentWarning]:
        """Check the rule against the job or recipe type that it starts; return warnings (there are none).

        :param inputs: the inputs of the type.
        :param workspaces: all workspaces that exist, by name.
        :param has_outputs: whether the type produces files, so that a workspace is needed.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        if self.workspace_name is not None:
            check_workspace_name(self.workspace_name, "/data/workspace_name", workspaces, faults)
        elif has_outputs:
            message = "What the rule starts produces files, so data needs a workspace_name to store them in."
            faults.add("/data" if "data" in self.document else "", "trigger-rule.missing-workspace", message)
        self._check_inputs(inputs, faults)
        faults.refuse(self.KIND, self.document)
        return []

    def _check_inputs(self, inputs: Sequence[InterfaceInput], faults: Faults) -> None:
        by_name = {each.name: each for each in inputs}
        for index, data in enumerate(self.inputs):
            place = f"/data/input_data/{index}/name"
            wanted = by_name.get(data.name)
            if wanted is None:
                message = f"There is no input {quote(data.name)}."
                rule = "trigger-rule.unknown-input"
                faults.add_unknown(place, rule, message, what="inputs", name=data.name, known=by_name)
            elif wanted.type != "property":
                message = (
                    f"The input {quote(data.name)} takes files; a clock rule can only give property inputs."
                )
                faults.add(place, "trigger-rule.file-input", message)
        given = {data.name for data in self.inputs}
        place = "/data" if "data" in self.document else ""
        for each in inputs:
            if not each.required or each.name in given:
                continue
            if each.type == "property":
                message = f"The input {quote(each.name)} is required, so data needs a value for it."
                faults.add(place, "trigger-rule.missing-input", message)
            else:
                message = (
                    f"The input {quote(each.name)} requires a file, so a clock rule can't start this type."
                )
                faults.add(place, "trigger-rule.file-input", message)


TriggerConfiguration: TypeAlias = "IngestRule | ParseRule | ClockRule"

RULE_TYPES: Mapping[str, type[IngestRule] | type[ParseRule] | type[ClockRule]] = {
    rule.TYPE: rule for rule in (IngestRule, ParseRule, ClockRule)
}


def parse_rule(rule_type: str, configuration: object) -> TriggerConfiguration:
    """Read the configuration of a trigger rule of the type ``INGEST``, ``PARSE`` or ``CLOCK``.

    :raises InvalidDocument: every fault found.
    :raises KeyError: there is no such type.
    """
    return RULE_TYPES[rule_type].parse(configuration)
