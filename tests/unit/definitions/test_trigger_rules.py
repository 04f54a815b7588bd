# SPDX-License-Identifier: Apache-2.0
"""Ingest, parse and clock rules, and the types that they start."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.input_data import DataInput, WorkspaceFacts
from scale_airflow.definitions.job_interface import InterfaceInput
from scale_airflow.definitions.trigger_rules import RULE_TYPES, ClockRule, IngestRule, ParseRule, parse_rule
from scale_airflow.errors import DocumentWarning, InvalidDocument

WORKSPACES = {"raw": WorkspaceFacts(1, "raw", True), "old": WorkspaceFacts(2, "old", False)}
IMAGE = InterfaceInput("image", "file", True, ("image/png",))
OPTIONAL = InterfaceInput("more", "files", False)
DAYS = InterfaceInput("days", "property")


def rule(media_type: str = "image/png", name: str = "image", workspace: str = "raw") -> IngestRule:
    return IngestRule.parse(
        {
            "condition": {"media_type": media_type},
            "data": {"input_data_name": name, "workspace_name": workspace},
        }
    )


def clock(**fields: Any) -> ClockRule:
    return ClockRule.parse({"event_type": "DAILY", "schedule": "P1D", **fields})


def told(found: IngestRule | ClockRule, *inputs: InterfaceInput, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        found.check(inputs, WORKSPACES, **fields)
    return [(fault.path, fault.rule.removeprefix("trigger-rule.")) for fault in caught.value.faults]


@pytest.mark.parametrize(("kind", "example"), [(IngestRule, "ingest"), (ParseRule, "parse")])
def test_the_specifications_examples(kind: type[IngestRule] | type[ParseRule], example: str) -> None:
    found = kind.parse(load(f"{example}-trigger-rule.text"))
    assert (found.media_type, found.data_types) == ("text/plain", {"foo", "bar"})
    assert (found.input_data_name, found.workspace_name) == ("my_file", "my_workspace")


@pytest.mark.parametrize(
    ("condition", "media_type", "tags", "expected"),
    [
        ({}, "text/plain", [], True),
        ({"media_type": ""}, "text/plain", [], True),
        ({"media_type": "text/plain"}, "text/plain", [], True),
        ({"media_type": "text/plain"}, "text/csv", [], False),
        ({"data_types": ["a", "b"]}, "text/csv", ["b", "c", "a"], True),
        ({"data_types": ["a", "b"]}, "text/csv", ["a"], False),
        ({"media_type": "text/plain", "data_types": ["a"]}, "text/plain", ["a"], True),
        ({"media_type": "text/plain", "data_types": ["a"]}, "text/csv", ["a"], False),
    ],
)
def test_conditions(condition: dict[str, Any], media_type: str, tags: list[str], expected: bool) -> None:
    document = {"condition": condition, "data": {"input_data_name": "a", "workspace_name": "b"}}
    assert IngestRule.parse(document).matches(media_type, tags) is expected


def test_without_a_condition_every_file_matches() -> None:
    found = ParseRule.parse({"data": {"input_data_name": "a", "workspace_name": "b"}})
    assert found.matches("x/y", [])


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({}, [""]),
        ({"data": {}}, ["/data", "/data"]),
        ({"data": {"input_data_name": "a", "workspace_name": "b", "x": 1}}, ["/data/x"]),
        ({"data": {"input_data_name": "a", "workspace_name": "b"}, "condition": None}, ["/condition"]),
        ({"data": {"input_data_name": "a", "workspace_name": "b"}, "condition": {"x": 1}}, ["/condition/x"]),
        (
            {"data": {"input_data_name": "a", "workspace_name": "b"}, "condition": {"data_types": "x"}},
            ["/condition/data_types"],
        ),
        ({"data": {"input_data_name": "a", "workspace_name": "b"}, "version": "2.0"}, ["/version"]),
    ],
)
def test_wrong_file_rules(document: object, places: list[str]) -> None:
    with pytest.raises(InvalidDocument) as caught:
        IngestRule.parse(document)
    assert [fault.path for fault in caught.value.faults] == places


def test_a_rule_that_fits() -> None:
    assert rule().check([IMAGE, OPTIONAL], WORKSPACES) == []
    assert rule(name="more").check([OPTIONAL], WORKSPACES) == []


@pytest.mark.parametrize(
    ("media_type", "shown"), [("text/csv", "text/csv"), ("", "application/octet-stream")]
)
def test_media_types_that_do_not_match_are_warnings(media_type: str, shown: str) -> None:
    details = f"Invalid media type for data input: image -> {shown}"
    assert rule(media_type).check([IMAGE], WORKSPACES) == [DocumentWarning("media_type", details)]


def test_rules_that_do_not_fit() -> None:
    assert told(rule(name="imag"), IMAGE) == [
        ("/data", "missing-input"),
        ("/data/input_data_name", "unknown-input"),
    ]
    assert told(rule(name="days"), DAYS) == [("/data/input_data_name", "property-input")]
    assert told(rule(), IMAGE, DAYS) == [("/data", "missing-input")]
    assert told(rule(workspace="rwa"), IMAGE) == [("/data/workspace_name", "workspace.unknown")]
    assert told(rule(workspace="old"), IMAGE) == [("/data/workspace_name", "workspace.inactive")]


def test_clock_rules() -> None:
    found = ClockRule.parse(load("clock-trigger-rule.hourly"))
    assert (found.event_type, found.schedule, found.period) == ("MY_METRICS", "PT1H0M0S", timedelta(hours=1))
    assert (found.inputs, found.workspace_name) == ((), None)
    found = ClockRule.parse(load("clock-trigger-rule.with-data"))
    assert (found.inputs, found.workspace_name) == ((DataInput("days", "7"),), "products")


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"schedule": "PT30S"}, ["/schedule"]),
        ({"schedule": 5}, ["/schedule"]),
        ({"event_type": ""}, ["/event_type"]),
        ({"data": {"input_data": [{"name": "a", "file_id": 1}]}}, ["/data/input_data/0"] * 1),
        ({"data": {"input_data": [{"name": "a", "value": "1"}] * 2}}, ["/data/input_data/1/name"]),
        ({"condition": {}}, ["/condition"]),
    ],
)
def test_wrong_clock_rules(fields: dict[str, Any], places: list[str]) -> None:
    with pytest.raises(InvalidDocument) as caught:
        clock(**fields)
    assert [fault.path for fault in caught.value.faults][: len(places)] == places


def test_clock_rules_that_fit() -> None:
    assert clock().check([OPTIONAL], WORKSPACES, has_outputs=False) == []
    data = {"input_data": [{"name": "days", "value": "7"}], "workspace_name": "raw"}
    assert clock(data=data).check([DAYS, OPTIONAL], WORKSPACES) == []


def test_clock_rules_that_do_not_fit() -> None:
    assert told(clock()) == [("", "missing-workspace")]
    assert told(clock(data={"workspace_name": "rwa"})) == [("/data/workspace_name", "workspace.unknown")]
    assert told(clock(), IMAGE, has_outputs=False) == [("", "file-input")]
    assert told(clock(), DAYS, has_outputs=False) == [("", "missing-input")]
    data = {"input_data": [{"name": "dais", "value": "7"}, {"name": "more", "value": "x"}]}
    assert told(clock(data=data), DAYS, OPTIONAL, has_outputs=False) == [
        ("/data", "missing-input"),
        ("/data/input_data/0/name", "unknown-input"),
        ("/data/input_data/1/name", "file-input"),
    ]


def test_rules_by_type() -> None:
    assert set(RULE_TYPES) == {"INGEST", "PARSE", "CLOCK"}
    assert isinstance(parse_rule("CLOCK", load("clock-trigger-rule.hourly")), ClockRule)
    with pytest.raises(KeyError):
        parse_rule("OTHER", {})
