# SPDX-License-Identifier: Apache-2.0
"""Errors, workspaces, Strike processes, configuration exports and set-ups."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.configuration_export import ConfigurationExport
from scale_airflow.definitions.documents import schema
from scale_airflow.definitions.error_document import ErrorDocument
from scale_airflow.definitions.setup_document import SetupDocument
from scale_airflow.definitions.strike_document import StrikeDocument
from scale_airflow.definitions.workspace_configuration import HostDirectory
from scale_airflow.definitions.workspace_document import DEFAULTS, WorkspaceDocument
from scale_airflow.errors import InvalidDocument

ERROR = {"name": "e", "title": "E", "description": "", "category": "DATA"}
WORKSPACE = {"name": "w", "json_config": {"broker": {"type": "host", "path": "/data"}}}


def told(read: Any, document: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        read(document)
    return [(fault.path, fault.rule) for fault in caught.value.faults]


def test_an_error() -> None:
    found = ErrorDocument.parse(load("error.create"))
    assert found.name == "error1"
    assert found.values == {
        "title": "Error 1",
        "description": "This is an algorithm error",
        "category": "ALGORITHM",
    }


@pytest.mark.parametrize("missing", ["name", "title", "description", "category"])
def test_an_error_has_every_field(missing: str) -> None:
    document = {name: value for name, value in ERROR.items() if name != missing}
    assert told(ErrorDocument.parse, document) == [("", "document.missing-field")]


@pytest.mark.parametrize(
    "read", [ErrorDocument.parse, ErrorDocument.parse_changes, ErrorDocument.parse_import]
)
def test_the_category_system_is_reserved(read: Any) -> None:
    assert ("/category", "error.system-category") in told(read, {**ERROR, "category": "SYSTEM"})
    assert ("/category", "document.value-not-allowed") in told(read, {**ERROR, "category": "USER"})


def test_changes_of_an_error() -> None:
    assert ErrorDocument.parse_changes({"title": "T"}).values == {"title": "T"}
    assert told(ErrorDocument.parse_changes, {"name": "x"}) == [("/name", "document.unknown-field")]


def test_an_imported_error() -> None:
    found = ErrorDocument.parse_import({"name": "e"})
    assert found.values == {}
    with pytest.raises(InvalidDocument, match='"category" is missing'):
        found.complete()
    complete = ErrorDocument.parse_import({"name": "e", "category": "DATA"}).complete()
    assert complete.values == {"title": "", "description": "", "category": "DATA"}


def test_a_workspace() -> None:
    found = WorkspaceDocument.parse(WORKSPACE)
    assert (found.name, found.values) == ("w", DEFAULTS)
    assert found.json_config is not None
    assert found.json_config.broker == HostDirectory(PurePosixPath("/data"))
    fields = schema("workspace-1.0")["properties"]
    assert {name: fields[name]["default"] for name in DEFAULTS} == DEFAULTS


def test_changes_of_a_workspace() -> None:
    found = WorkspaceDocument.parse_changes({"is_active": False})
    assert (found.values, found.json_config) == ({"is_active": False}, None)
    assert told(WorkspaceDocument.parse_changes, {"name": "x", "json_config": {}}) == [
        ("/name", "document.unknown-field"),
        ("/json_config", "document.missing-field"),
    ]


def test_a_strike_process() -> None:
    found = StrikeDocument.parse(load("strike.create"))
    assert found.name == "my-strike-process"
    assert found.values["title"] == "My Strike Process"
    assert found.configuration is not None
    assert found.configuration.workspace_names() == ("rs",)
    minimal = {"name": "s", "configuration": load("strike-configuration.h5")}
    assert StrikeDocument.parse(minimal).values == {"title": None, "description": None}


def test_changes_of_a_strike_process() -> None:
    assert StrikeDocument.parse_changes({"title": "T"}).values == {"title": "T"}
    places = [place for place, _ in told(StrikeDocument.parse_changes, {"name": "x", "configuration": {}})]
    assert places == ["/name", "/configuration", "/configuration", "/configuration"]


def test_a_configuration_export() -> None:
    found = ConfigurationExport.parse(load("configuration.example"))
    assert [error.name for error in found.errors] == ["my-error"]
    assert [(each.name, each.version) for each in found.job_types] == [("my-job", "1.0.0")]
    assert [(each.name, each.version) for each in found.recipe_types] == [("my-recipe", "1.0.0")]
    assert found.warnings == ()
    rule = found.recipe_types[0].complete().trigger_rule
    assert rule is not None
    assert rule.name == "my-rule"


@pytest.mark.parametrize("document", [{}, {"version": "1.0"}, {"errors": []}])
def test_every_part_of_an_export_is_optional(document: object) -> None:
    found = ConfigurationExport.parse(document)
    assert (found.errors, found.job_types, found.recipe_types) == ((), (), ())


def test_all_faults_of_an_export_are_told_at_once() -> None:
    document = {
        "errors": [ERROR, {**ERROR, "category": "SYSTEM"}, 5],
        "job_types": [{"name": "a", "version": "1"}, {"name": "a", "version": "1", "is_system": True}],
        "recipe_types": [{"name": "a", "definition": {"jobs": [{}]}}],
        "workspaces": [],
    }
    assert [place for place, _ in told(ConfigurationExport.parse, document)] == [
        "/errors/1",
        "/errors/1/category",
        "/errors/2",
        "/job_types/1",
        "/job_types/1/is_system",
        "/recipe_types/0",
        "/recipe_types/0/definition/jobs/0",
        "/recipe_types/0/definition/jobs/0",
        "/workspaces",
    ]


def test_the_same_name_in_another_version_is_another_type() -> None:
    document = {"job_types": [{"name": "a", "version": "1"}, {"name": "a", "version": "2"}]}
    assert len(ConfigurationExport.parse(document).job_types) == 2


def test_a_set_up() -> None:
    found = SetupDocument.parse(load("setup.example"))
    assert [workspace.name for workspace in found.workspaces] == ["rs"]
    assert found.configuration == PurePosixPath("configuration.json")
    assert [strike.name for strike in found.strikes] == ["my-strike-process"]
    assert SetupDocument.parse({}).configuration is None


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x.json", "a/../../x.json"])
def test_a_set_up_refers_to_files_below_itself(path: str) -> None:
    assert [place for place, _ in told(SetupDocument.parse, {"configuration": path})] == ["/configuration"]


def test_all_faults_of_a_set_up_are_told_at_once() -> None:
    strike = load("strike.create")
    strike["configuration"]["mount"] = "x"
    document = {"workspaces": [WORKSPACE, WORKSPACE, {}], "strikes": [strike, strike], "x": 1}
    assert [place for place, _ in told(SetupDocument.parse, document)] == [
        "/workspaces/1/name",
        "/workspaces/2",
        "/workspaces/2",
        "/strikes/0/configuration/mount",
        "/strikes/1/name",
        "/strikes/1/configuration/mount",
        "/x",
    ]
