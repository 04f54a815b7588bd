# SPDX-License-Identifier: Apache-2.0
"""Strike configurations."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.input_data import WorkspaceFacts
from scale_airflow.definitions.strike_configuration import StrikeConfiguration, StrikeRule
from scale_airflow.definitions.workspace_configuration import NfsMount
from scale_airflow.errors import InvalidDocument

RULE = {"filename_regex": ".*h5", "workspace_path": "in", "workspace_name": "raw"}


def strike(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "mount": "host:/in",
        "transfer_suffix": "_tmp",
        "files_to_ingest": [{**RULE, **rule} for rule in rules or ({},)],
        **fields,
    }


def told(document: object) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        StrikeConfiguration.parse(document)
    return [fault.path for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    configuration = StrikeConfiguration.parse(load("strike-configuration.h5"))
    assert configuration.mount == NfsMount("host", PurePosixPath("/my/path"))
    assert configuration.transfer_suffix == "_tmp"
    assert configuration.files_to_ingest == (StrikeRule(".*h5", PurePosixPath("wrksp/path"), "rs"),)
    assert configuration.workspace_names() == ("rs",)


def test_where_the_directory_is_mounted() -> None:
    configuration = StrikeConfiguration.parse(load("strike-configuration.ingest-details"))
    assert configuration.mount.mount_on == PurePosixPath("/mnt/in")


def test_the_first_matching_rule_counts() -> None:
    document = strike(
        {"filename_regex": "a.*", "data_types": ["first", "first"]}, {"filename_regex": r".*\.h5$"}
    )
    configuration = StrikeConfiguration.parse(document)
    first, second = configuration.files_to_ingest
    assert first.data_types == ("first",)
    assert configuration.rule_for("a.h5") is first
    assert configuration.rule_for("b.h5") is second
    assert configuration.rule_for("b.h5.txt") is None
    assert first.matches("abc")


@pytest.mark.parametrize(
    ("path", "expected"), [("/a/b", "a/b"), ("a", "a"), ("//a/./b/", "a/b"), ("/", "."), ("", ".")]
)
def test_workspace_paths_are_relative(path: str, expected: str) -> None:
    configuration = StrikeConfiguration.parse(strike({"workspace_path": path}))
    assert configuration.files_to_ingest[0].workspace_path == PurePosixPath(expected)


@pytest.mark.parametrize("path", ["..", "/../a", "a/../b", "a\0"])
def test_workspace_paths_stay_inside(path: str) -> None:
    assert told(strike({"workspace_path": path}))[0] == "/files_to_ingest/0/workspace_path"


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"files_to_ingest": []}, ["/files_to_ingest"]),
        ({"transfer_suffix": ""}, ["/transfer_suffix"]),
        ({"transfer_suffix": "a/b"}, ["/transfer_suffix"]),
        ({"mount": "/in"}, ["/mount"]),
        ({"mount": "host:/../in"}, ["/mount"]),
        ({"mount_on": "in"}, ["/mount_on"]),
        ({"mount_on": "/in/.."}, ["/mount_on"]),
        ({"monitor": {}}, ["/monitor"]),
        ({"version": "2.0"}, ["/version"]),
    ],
)
def test_wrong_fields(fields: dict[str, Any], places: list[str]) -> None:
    assert told(strike(**fields)) == places


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ({"filename_regex": ""}, ["filename_regex"]),
        ({"filename_regex": "*.txt"}, ["filename_regex"]),
        ({"filename_regex": r"(a)\1"}, ["filename_regex"]),
        ({"filename_regex": "a" * 1001}, ["filename_regex"]),
        ({"data_types": ["a/b", "ok", ""]}, ["data_types/0", "data_types/2"]),
        ({"workspace_name": ""}, ["workspace_name"]),
        ({"new_workspace": "a"}, ["new_workspace"]),
    ],
)
def test_wrong_rules(rule: dict[str, Any], places: list[str]) -> None:
    assert told(strike({}, rule)) == [f"/files_to_ingest/1/{place}" for place in places]


def test_all_faults_are_told_at_once() -> None:
    assert told({"mount": "x", "files_to_ingest": [{"filename_regex": "("}, 5]}) == [
        "",
        "/mount",
        "/files_to_ingest/0",
        "/files_to_ingest/0",
        "/files_to_ingest/0/filename_regex",
        "/files_to_ingest/1",
    ]


def test_workspaces_exist_and_are_active() -> None:
    configuration = StrikeConfiguration.parse(
        strike({}, {"workspace_name": "old"}, {"workspace_name": "rwa"})
    )
    workspaces = {
        "raw": WorkspaceFacts(1, "raw", True),
        "old": WorkspaceFacts(2, "old", False),
    }
    with pytest.raises(InvalidDocument) as caught:
        configuration.check(workspaces)
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        ("/files_to_ingest/1/workspace_name", 'The workspace "old" is not active.'),
        (
            "/files_to_ingest/2/workspace_name",
            'There is no workspace "rwa". Known workspaces: "old", "raw". Did you mean "raw"?',
        ),
    ]
    StrikeConfiguration.parse(strike()).check(workspaces)
