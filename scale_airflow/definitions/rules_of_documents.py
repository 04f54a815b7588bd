# SPDX-License-Identifier: Apache-2.0
"""Rules for every document, and for what stands in several of them: structure, paths, times, GeoJSON."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from scale_airflow.definitions.clock import parse_schedule
from scale_airflow.definitions.documents import load_json
from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.definitions.faults import MAX_FAULTS
from scale_airflow.definitions.geometry import footprint
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.definitions.json_values import MAX_DEPTH
from scale_airflow.definitions.rule_readers import Rule
from scale_airflow.definitions.setup_document import SetupDocument
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.definitions.trigger_rules import ClockRule
from scale_airflow.definitions.workspace_configuration import WorkspaceConfiguration

_ANY = "every document"
_JSON = "this project: strict JSON"
_SCHEMA = "the document's specification, written as a JSON Schema in `schemas/`"
_COMMAND = {"command": "a", "command_arguments": ""}


def _geometry(kind: str, coordinates: Any) -> Mapping[str, Any]:
    return {"type": kind, "coordinates": coordinates}


RULES = (
    Rule(
        "document.not-json",
        _ANY,
        "It is JSON text in UTF-8.",
        _JSON,
        '{"version" "1.0"}',
        "",
        load_json,
    ),
    Rule(
        "document.repeated-field",
        _ANY,
        "No object has the same field twice.",
        _JSON,
        '{"jobs": [{"name": "a", "name": "b"}]}',
        "/jobs/0/name",
        load_json,
    ),
    Rule(
        "document.not-finite",
        _ANY,
        "Numbers are finite: no NaN, no infinity.",
        _JSON,
        '{"cpus_required": NaN}',
        "/cpus_required",
        load_json,
    ),
    Rule(
        "document.too-deep",
        _ANY,
        f"Objects and arrays are nested at most {MAX_DEPTH} levels deep.",
        _JSON,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "/0" * MAX_DEPTH,
        load_json,
        shown="[[[[… 65 times …]]]]",
    ),
    Rule(
        "document.unstorable-text",
        _ANY,
        "Texts hold neither NUL characters nor lone surrogates.",
        "this project: PostgreSQL and UTF-8 can't hold them",
        {"command": "a\0b", "command_arguments": ""},
        "/command",
        JobInterface.parse,
        shown='{"command": "a\\u0000b", "command_arguments": ""}',
    ),
    Rule(
        "document.not-json-value",
        _ANY,
        "A document built in Python holds only values that JSON has.",
        _JSON,
        {"command": datetime.date(2015, 5, 15), "command_arguments": ""},
        "/command",
        JobInterface.parse,
        shown='{"command": datetime.date(2015, 5, 15), "command_arguments": ""}',
    ),
    Rule(
        "document.too-many-faults",
        _ANY,
        f"More than {MAX_FAULTS} faults are counted, not listed.",
        "this project",
        {"exit_codes": {str(code): "" for code in range(1, MAX_FAULTS + 2)}},
        "",
        ErrorMapping.parse,
        shown='{"exit_codes": {"1": "", "2": "", … "201": ""}}',
    ),
    Rule(
        "document.wrong-type",
        _ANY,
        "A field has the type that the specification says; true is no number, 1.0 is no whole number.",
        _SCHEMA,
        {"command": 5, "command_arguments": ""},
        "/command",
        JobInterface.parse,
    ),
    Rule(
        "document.missing-field",
        _ANY,
        "Required fields are there.",
        _SCHEMA,
        {"command_arguments": ""},
        "",
        JobInterface.parse,
    ),
    Rule(
        "document.unknown-field",
        _ANY,
        "There are no fields that the specification does not have.",
        _SCHEMA,
        {**_COMMAND, "input_dat": []},
        "/input_dat",
        JobInterface.parse,
    ),
    Rule(
        "document.value-not-allowed",
        _ANY,
        "A field with a set of values has one of them.",
        _SCHEMA,
        {**_COMMAND, "output_data": [{"name": "a", "type": "fil"}]},
        "/output_data/0/type",
        JobInterface.parse,
    ),
    Rule(
        "document.pattern",
        _ANY,
        "Names, tags, mounts and codes have the form that the specification says.",
        _SCHEMA,
        {**_COMMAND, "output_data": [{"name": "a/b", "type": "file"}]},
        "/output_data/0/name",
        JobInterface.parse,
    ),
    Rule(
        "document.too-short",
        _ANY,
        "A text that may not be empty is not.",
        _SCHEMA,
        {"exit_codes": {"1": ""}},
        "/exit_codes/1",
        ErrorMapping.parse,
    ),
    Rule(
        "document.too-long",
        _ANY,
        "A text is not longer than allowed.",
        _SCHEMA,
        {"event_type": "T" * 51, "schedule": "PT1H"},
        "/event_type",
        ClockRule.parse,
    ),
    Rule(
        "document.too-few-items",
        _ANY,
        "A list has as many items as it needs.",
        _SCHEMA,
        {"mount": "host:/in", "transfer_suffix": "_tmp", "files_to_ingest": []},
        "/files_to_ingest",
        StrikeConfiguration.parse,
    ),
    Rule(
        "document.too-many-items",
        _ANY,
        "A list has no more items than allowed.",
        _SCHEMA,
        {"docker_params": [["dns", "10.0.0.1", "10.0.0.2"]]},
        "/docker_params/0",
        JobTypeConfiguration.parse,
    ),
    Rule(
        "document.too-small",
        _ANY,
        "A number is not below its least value.",
        _SCHEMA,
        {"gpus_required": -1},
        "/gpus_required",
        JobTypeConfiguration.parse,
    ),
    Rule(
        "document.too-large",
        _ANY,
        "A number is not above its greatest value: identifiers fit 64 bits.",
        _SCHEMA,
        {"input_data": [{"name": "image", "file_id": 2**63}]},
        "/input_data/0/file_id",
        JobData.parse,
    ),
    Rule(
        "path.not-relative",
        "results manifest, Strike configuration, set-up",
        "A path inside a directory is relative and has no `..`.",
        "Strike, workspace_path; this project: no path leaves its directory",
        {"configuration": "../configuration.json"},
        "/configuration",
        SetupDocument.parse,
    ),
    Rule(
        "path.parent",
        "workspace configuration, Strike configuration",
        "A mounted path has no `..`.",
        "this project",
        {"broker": {"type": "host", "path": "/data/../etc"}},
        "/broker/path",
        WorkspaceConfiguration.parse,
    ),
    Rule(
        "clock.schedule",
        "clock trigger rule",
        "A schedule is an ISO 8601 period of whole days, hours, minutes and seconds.",
        "Clock Triggers, schedule",
        "hourly",
        "",
        parse_schedule,
    ),
    Rule(
        "clock.schedule-range",
        "clock trigger rule",
        "A schedule is whole minutes, from one minute to 24 hours.",
        "Clock Triggers, schedule; this project: longer and fractional ones are refused",
        "PT90S",
        "",
        parse_schedule,
    ),
    Rule(
        "geo-json.type",
        "GeoJSON",
        "It is a geometry, a Feature or a FeatureCollection.",
        "RFC 7946",
        _geometry("Circle", [0, 0]),
        "/type",
        footprint,
    ),
    Rule(
        "geo-json.members",
        "GeoJSON",
        "An object has the members of its type.",
        "RFC 7946",
        {"type": "FeatureCollection"},
        "",
        footprint,
    ),
    Rule(
        "geo-json.coordinates",
        "GeoJSON",
        "Coordinates are numbers, nested as the type needs; rings have four positions and are closed.",
        "RFC 7946",
        _geometry("LineString", [[-84.4, 36.7]]),
        "/coordinates",
        footprint,
    ),
    Rule(
        "geo-json.no-geometry",
        "GeoJSON",
        "There is a geometry with coordinates.",
        "Results Manifest, geo_json",
        {"type": "Feature", "properties": {}, "geometry": None},
        "",
        footprint,
    ),
)
