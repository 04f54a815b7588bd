# SPDX-License-Identifier: Apache-2.0
"""A job type as requests and export documents give it (specification: Create Job Type, Edit Job Type)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scale_airflow.definitions.documents import nested, schema, structure, text_of
from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.definitions.faults import Faults, pointer, quote
from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.definitions.trigger_rule_document import (
    UNKNOWN_RULE,
    TriggerRuleDocument,
    read_trigger_rule,
)
from scale_airflow.errors import DocumentWarning, InvalidDocument

KIND = "job-type"

DEFAULTS: Mapping[str, Any] = {
    "title": None,
    "description": None,
    "category": None,
    "author_name": None,
    "author_url": None,
    "is_long_running": False,
    "is_operational": True,
    "is_paused": False,
    "icon_code": None,
    "uses_docker": True,
    "docker_privileged": False,
    "docker_image": None,
    "priority": 100,
    "timeout": 1800,
    "max_scheduled": None,
    "max_tries": 3,
    "cpus_required": 1.0,
    "mem_required": 64.0,
    "disk_out_const_required": 64.0,
    "disk_out_mult_required": 0.0,
}
"""The plain fields of a job type and what they are if nobody says; ``timeout`` in seconds, sizes in MiB."""


@dataclass(frozen=True)
class JobTypeDocument:
    """A job type to create, or changes to one.

    ``values`` holds the plain fields of :data:`DEFAULTS` that were given, all of them after :meth:`complete`.
    ``interface``, ``error_mapping``, ``configuration`` and ``trigger_rule`` are None where not given.
    """

    name: str
    version: str
    values: Mapping[str, Any]
    interface: JobInterface | None
    error_mapping: ErrorMapping | None
    configuration: JobTypeConfiguration | None
    trigger_rule: TriggerRuleDocument | None
    document: Mapping[str, Any]
    warnings: tuple[DocumentWarning, ...] = ()

    @classmethod
    def parse(cls, document: object) -> JobTypeDocument:
        """Read a job type to create; fields that were not given have their defaults.

        :raises InvalidDocument: every fault found.
        """
        return cls._read(document, structure(KIND, document), creating=True).complete()

    @classmethod
    def parse_changes(cls, document: object, *, existing_rule: str | None = None) -> JobTypeDocument:
        """Read changes to a job type; name, version and unknown fields are ignored, as web clients send them.

        :param existing_rule: the type of the trigger rule that the job type has.
        :raises InvalidDocument: every fault found.
        """
        if isinstance(document, dict):
            known = schema("job-type-1.0")["properties"].keys() - {"name", "version"}
            document = {name: value for name, value in document.items() if name in known}
        faults = structure(KIND, document, required=())
        return cls._read(document, faults, creating=False, existing_rule=existing_rule)

    @classmethod
    def parse_import(cls, document: object) -> JobTypeDocument:
        """Read a job type of an export document: one to create or to edit.

        Call :meth:`complete` when it does not exist yet, else :meth:`editing`.

        Fields that Scale decides give a warning ``read-only``; a system job type is refused.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document, required=("name", "version"))
        if isinstance(document, dict):
            if document.get("is_system"):
                message = "System job types belong to Scale itself and can't be imported."
                faults.add("/is_system", "job-type.system", message)
            _check_category(document, faults)
        read = cls._read(document, faults, creating=False, existing_rule=UNKNOWN_RULE)
        return replace(read, warnings=_read_only_warnings(read.document))

    @classmethod
    def _read(
        cls, document: object, faults: Faults, *, creating: bool, existing_rule: str | None = None
    ) -> JobTypeDocument:
        given = document if isinstance(document, dict) else {}
        interface = mapping = configuration = None
        if isinstance(given.get("interface"), dict):
            interface = nested(JobInterface.parse, given["interface"], "/interface", faults)
        if isinstance(given.get("error_mapping", 0), dict | None):
            mapping = nested(ErrorMapping.parse, given["error_mapping"], "/error_mapping", faults)
        if isinstance(given.get("configuration", 0), dict | None):
            parse = JobTypeConfiguration.parse
            configuration = nested(parse, given["configuration"], "/configuration", faults)
        rule = read_trigger_rule(given, faults, existing=existing_rule, creating=creating)
        faults.refuse(KIND, document)
        values = {name: given[name] for name in DEFAULTS if name in given}
        if "timeout" in values:
            values["timeout"] = values["timeout"] or 0
        return cls(
            name=text_of(given, "name") or "",
            version=text_of(given, "version") or "",
            values=values,
            interface=interface,
            error_mapping=mapping,
            configuration=configuration,
            trigger_rule=rule,
            document=given,
        )

    def complete(self) -> JobTypeDocument:
        """Return the document of a job type that does not exist yet, with defaults for what was not given.

        :raises InvalidDocument: there is no interface, or the trigger rule is incomplete.
        """
        faults = Faults()
        if self.interface is None:
            faults.add("", "document.missing-field", 'The required field "interface" is missing.')
        rule = read_trigger_rule(self.document, faults, existing=None, creating=True)
        faults.refuse(KIND, self.document)
        return replace(
            self,
            values={**DEFAULTS, **self.values},
            error_mapping=self.error_mapping or ErrorMapping.parse(None),
            trigger_rule=rule,
        )

    def editing(self, *, existing_rule: str | None) -> JobTypeDocument:
        """Return the document of an export as changes to a job type that exists.

        :param existing_rule: the type of the trigger rule that the job type has.
        :raises InvalidDocument: the trigger rule is incomplete.
        """
        faults = Faults()
        rule = read_trigger_rule(self.document, faults, existing=existing_rule)
        faults.refuse(KIND, self.document)
        return replace(self, trigger_rule=rule)

    def check(
        self,
        *,
        errors: Collection[str],
        workspaces: Mapping[str, WorkspaceFacts],
        interface: JobInterface | None = None,
    ) -> list[DocumentWarning]:
        """Check what the document refers to; return warnings, with those of reading it.

        :param errors: the names of all errors that exist.
        :param workspaces: all workspaces that exist, by name.
        :param interface: the interface that stays in force if the document gives none.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        _check_category(self.document, faults)
        warnings = list(self.warnings)
        if self.error_mapping is not None:
            faults.extend(self.error_mapping.check_names(errors), "/error_mapping")
        interface = self.interface or interface
        if interface is not None:
            has_outputs = bool(interface.outputs)
            rule = self.trigger_rule
            warnings += check_rule(rule, interface.inputs, workspaces, has_outputs, faults)
        faults.refuse(KIND, self.document)
        return warnings


def _check_category(document: Mapping[str, Any], faults: Faults) -> None:
    if document.get("category") == "system":
        message = (
            'The category "system" is reserved for the job types of Scale itself: give another one, or none.'
        )
        faults.add("/category", "job-type.system", message)


def check_rule(
    rule: TriggerRuleDocument | None,
    inputs: Any,
    workspaces: Mapping[str, WorkspaceFacts],
    has_outputs: bool,
    faults: Faults,
) -> list[DocumentWarning]:
    """Check a type's new trigger rule against the type's inputs; return warnings."""
    if rule is None or rule.configuration is None:
        return []
    try:
        return rule.configuration.check(inputs, workspaces, has_outputs=has_outputs)
    except InvalidDocument as error:
        faults.extend(error.faults, "/trigger_rule/configuration")
        return []


def _read_only_warnings(document: Mapping[str, Any]) -> tuple[DocumentWarning, ...]:
    fields = schema("job-type-1.0")["properties"]
    # Exports say is_system: false themselves.
    found = [name for name in document if fields[name].get("readOnly") and name != "is_system"]
    label = f"{document['name']} {document['version']}"
    return tuple(
        DocumentWarning(
            "read-only", f"The field {quote(pointer(name)[1:])} of the job type {quote(label)} is ignored."
        )
        for name in found
    )
