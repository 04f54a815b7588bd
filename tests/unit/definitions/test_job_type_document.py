# SPDX-License-Identifier: Apache-2.0
"""Job types as requests and export documents give them."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.documents import schema
from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_type_document import DEFAULTS, JobTypeDocument
from scale_airflow.definitions.trigger_rules import ParseRule
from scale_airflow.errors import DocumentWarning, InvalidDocument

WORKSPACES = {"rs": WorkspaceFacts(1, "rs", True)}
MINIMAL = {"name": "a", "version": "1", "interface": {"command": "a", "command_arguments": ""}}


def told(read: Any, document: object, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        read(document, **fields)
    return [(fault.path, fault.rule) for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    found = JobTypeDocument.parse(load("job-type.create"))
    assert (found.name, found.version) == ("my-job", "1.0")
    assert found.values["priority"] == 1
    assert found.values["timeout"] == 0
    assert found.values["max_scheduled"] is None
    assert found.interface is not None
    assert found.interface.command == "test_cmd"
    assert found.error_mapping is not None
    assert found.error_mapping.exit_codes == {1: "unknown"}
    assert found.trigger_rule is not None
    assert found.trigger_rule.type == "PARSE"
    assert found.trigger_rule.is_active is True
    assert isinstance(found.trigger_rule.configuration, ParseRule)
    assert found.check(errors=["unknown"], workspaces=WORKSPACES) == []


def test_defaults() -> None:
    found = JobTypeDocument.parse(MINIMAL)
    assert found.values == DEFAULTS
    assert found.error_mapping is not None
    assert found.error_mapping.exit_codes == {}
    assert (found.configuration, found.trigger_rule) == (None, None)


def test_the_defaults_are_those_of_the_schema() -> None:
    fields = schema("job-type-1.0")["properties"]
    assert {name: fields[name]["default"] for name in DEFAULTS} == DEFAULTS


def test_null_is_no_timeout() -> None:
    assert JobTypeDocument.parse({**MINIMAL, "timeout": None}).values["timeout"] == 0


def test_what_scale_decides_is_ignored() -> None:
    decided = {
        "is_system": True,
        "is_active": False,
        "requires_cleanup": False,
        "revision_num": 7,
        "created": "x",
        "archived": None,
        "paused": None,
        "last_modified": None,
    }
    assert JobTypeDocument.parse({**MINIMAL, **decided}).values == DEFAULTS


@pytest.mark.parametrize("rule", [None, {}])
def test_no_trigger_rule(rule: object) -> None:
    assert JobTypeDocument.parse({**MINIMAL, "trigger_rule": rule}).trigger_rule is None


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"priority": -1}, ["/priority"]),
        ({"priority": "1"}, ["/priority"]),
        ({"priority": None}, ["/priority"]),
        ({"timeout": -1}, ["/timeout"]),
        ({"max_tries": -1}, ["/max_tries"]),
        ({"max_tries": True}, ["/max_tries"]),
        ({"max_tries": 2**31}, ["/max_tries"]),
        ({"cpus_required": -0.5}, ["/cpus_required"]),
        ({"cpus_required": float("nan")}, ["/cpus_required"]),
        ({"mem_required": "64"}, ["/mem_required"]),
        ({"is_paused": 1}, ["/is_paused"]),
        ({"title": 5}, ["/title"]),
        ({"name": ""}, ["/name"]),
        ({"version": "a" * 256}, ["/version"]),
        ({"prioritty": 1}, ["/prioritty"]),
        ({"interface": None}, ["/interface"]),
        ({"interface": {"command": "a"}}, ["/interface"]),
        ({"error_mapping": {"exit_codes": {"x": "unknown"}}}, ["/error_mapping/exit_codes/x"]),
        ({"configuration": {"gpus_required": -1}}, ["/configuration/gpus_required"]),
        ({"trigger_rule": "PARSE"}, ["/trigger_rule"]),
        ({"trigger_rule": {"type": "PARSE"}}, ["/trigger_rule"]),
        ({"trigger_rule": {"is_active": True}}, ["/trigger_rule"]),
        ({"trigger_rule": {"configuration": {}}}, ["/trigger_rule"]),
        ({"trigger_rule": {"type": "OTHER", "configuration": {}}}, ["/trigger_rule/type"]),
        ({"trigger_rule": {"type": "PARSE", "configuration": []}}, ["/trigger_rule/configuration"]),
        ({"trigger_rule": {"type": "PARSE", "configuration": {}}}, ["/trigger_rule/configuration"]),
        (
            {"trigger_rule": {"type": "CLOCK", "configuration": {"event_type": "A", "schedule": "x"}}},
            ["/trigger_rule/configuration/schedule"],
        ),
    ],
)
def test_wrong_fields(fields: dict[str, Any], places: list[str]) -> None:
    assert [place for place, _ in told(JobTypeDocument.parse, {**MINIMAL, **fields})] == places


def test_faults_of_all_parts_are_told_at_once() -> None:
    document = {
        "version": 5,
        "interface": {"command": "a", "command_arguments": "${x}"},
        "error_mapping": {"exit_codes": 5},
        "trigger_rule": {"type": "INGEST", "configuration": {"data": {}}},
        "colour": 1,
    }
    assert [place for place, _ in told(JobTypeDocument.parse, document)] == [
        "",
        "/version",
        "/interface/command_arguments",
        "/error_mapping/exit_codes",
        "/trigger_rule/configuration/data",
        "/trigger_rule/configuration/data",
        "/colour",
    ]


def test_a_fault_of_a_part_is_told_once() -> None:
    interface = {"command": "a\0", "command_arguments": ""}
    assert told(JobTypeDocument.parse, {**MINIMAL, "interface": interface}) == [
        ("/interface/command", "document.unstorable-text")
    ]


def test_references_are_checked_at_once() -> None:
    found = JobTypeDocument.parse(load("job-type.create"))
    with pytest.raises(InvalidDocument) as caught:
        found.check(errors=[], workspaces={})
    assert [fault.path for fault in caught.value.faults] == [
        "/error_mapping/exit_codes/1",
        "/trigger_rule/configuration/data/workspace_name",
    ]


def test_changes() -> None:
    found = JobTypeDocument.parse_changes(
        {"is_paused": True, "name": 5, "version": None, "error_mappings": [], "nonsense": 1}
    )
    assert found.values == {"is_paused": True}
    assert (found.interface, found.error_mapping, found.configuration, found.trigger_rule) == (None,) * 4
    assert (found.name, found.version) == ("", "")


def test_an_edited_mapping_and_configuration_may_be_emptied() -> None:
    found = JobTypeDocument.parse_changes({"error_mapping": None, "configuration": None})
    assert found.error_mapping is not None
    assert found.error_mapping.exit_codes == {}
    assert found.configuration is not None
    assert found.configuration.env_vars == {}


def test_changes_of_the_trigger_rule() -> None:
    read = JobTypeDocument.parse_changes
    configuration = load("parse-trigger-rule.text")
    for removed in (None, {}):
        rule = read({"trigger_rule": removed}, existing_rule="PARSE").trigger_rule
        assert rule is not None
        assert rule.remove
    rule = read({"trigger_rule": {"is_active": False}}, existing_rule="PARSE").trigger_rule
    assert rule is not None
    assert (rule.type, rule.is_active, rule.configuration, rule.remove) == ("PARSE", False, None, False)
    rule = read(
        {"trigger_rule": {"configuration": configuration, "name": "r"}}, existing_rule="PARSE"
    ).trigger_rule
    assert rule is not None
    assert isinstance(rule.configuration, ParseRule)
    assert (rule.name, rule.is_active) == ("r", None)
    whole = {
        "type": "INGEST",
        "configuration": configuration,
        "id": 1,
        "created": "x",
        "archived": None,
        "last_modified": "x",
    }
    rule = read({"trigger_rule": whole}, existing_rule="PARSE").trigger_rule
    assert rule is not None
    assert rule.type == "INGEST"


@pytest.mark.parametrize(
    ("rule", "existing", "expected"),
    [
        ({"is_active": True}, None, "trigger-rule.missing-configuration"),
        ({"type": "PARSE"}, "PARSE", "trigger-rule.missing-configuration"),
        ({"configuration": {}}, None, "trigger-rule.missing-type"),
        ({"configuration": {}, "type": "X"}, "PARSE", "document.value-not-allowed"),
        ({"enabled": True}, "PARSE", "document.unknown-field"),
    ],
)
def test_wrong_changes_of_the_trigger_rule(rule: object, existing: str | None, expected: str) -> None:
    found = told(JobTypeDocument.parse_changes, {"trigger_rule": rule}, existing_rule=existing)
    assert expected in [each for _, each in found]


def test_a_new_rule_is_checked_against_the_interface_that_stays() -> None:
    configuration = {"data": {"input_data_name": "image", "workspace_name": "rs"}}
    found = JobTypeDocument.parse_changes({"trigger_rule": {"type": "PARSE", "configuration": configuration}})
    assert found.check(errors=[], workspaces={}) == []
    interface = JobInterface.parse(load("job-interface.detect-points"))
    assert found.check(errors=[], workspaces=WORKSPACES, interface=interface) == [
        DocumentWarning("media_type", "Invalid media type for data input: image -> application/octet-stream")
    ]


def test_imports() -> None:
    document = {
        "name": "a",
        "version": "1",
        "priority": 5,
        "is_system": False,
        "revision_num": 3,
        "paused": None,
    }
    found = JobTypeDocument.parse_import(document)
    assert found.values == {"priority": 5}
    assert found.warnings == (
        DocumentWarning("read-only", 'The field "revision_num" of the job type "a 1" is ignored.'),
        DocumentWarning("read-only", 'The field "paused" of the job type "a 1" is ignored.'),
    )
    assert found.check(errors=[], workspaces={}) == list(found.warnings)
    assert found.editing(existing_rule=None).values == {"priority": 5}
    with pytest.raises(InvalidDocument, match='"interface" is missing'):
        found.complete()
    complete = JobTypeDocument.parse_import({**document, "interface": MINIMAL["interface"]}).complete()
    assert complete.values == {**DEFAULTS, "priority": 5}


def test_an_imported_rule_without_a_type_keeps_the_type_that_is_there() -> None:
    document = {**MINIMAL, "trigger_rule": {"configuration": load("parse-trigger-rule.text")}}
    found = JobTypeDocument.parse_import(document)
    rule = found.editing(existing_rule="PARSE").trigger_rule
    assert rule is not None
    assert isinstance(rule.configuration, ParseRule)
    for finish in (found.complete, lambda: found.editing(existing_rule=None)):
        with pytest.raises(InvalidDocument, match="needs a type"):
            finish()


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"is_system": True}, ["/is_system"]),
        ({"category": "system"}, ["/category"]),
        ({"colour": 1}, ["/colour"]),
        ({"name": None}, ["/name"]),
    ],
)
def test_wrong_imports(fields: dict[str, Any], places: list[str]) -> None:
    assert [place for place, _ in told(JobTypeDocument.parse_import, {**MINIMAL, **fields})] == places


def test_an_import_names_what_it_is_about() -> None:
    assert told(JobTypeDocument.parse_import, {}) == [("", "document.missing-field")] * 2
