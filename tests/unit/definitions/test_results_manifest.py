# SPDX-License-Identifier: Apache-2.0
"""Results manifests of both versions, ARTIFACT lines, and the check against an interface."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.definitions.samples import load

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.results_manifest import (
    GeoMetadata,
    ManifestFile,
    ManifestOutput,
    ParseResult,
    ResultsManifest,
    artifacts,
    read_time,
)
from scale_airflow.errors import InvalidDocument

STARTED = datetime(2015, 5, 15, 10, 34, 12, tzinfo=timezone.utc)
ENDED = datetime(2015, 5, 15, 10, 36, 12, tzinfo=timezone.utc)
INTERFACE = JobInterface.parse(
    {
        "command": "a",
        "command_arguments": "",
        "output_data": [
            {"name": "one", "type": "file"},
            {"name": "many", "type": "files", "required": False},
        ],
    }
)


def told(document: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        ResultsManifest.parse(document)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def unfit(document: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        ResultsManifest.parse(document).check(INTERFACE)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_everything_in_version_1_1() -> None:
    document = load("results-manifest.everything")
    manifest = ResultsManifest.parse(document)
    geo_json = document["output_data"][0]["file"]["geo_metadata"]["geo_json"]
    assert manifest.outputs == (
        ManifestOutput("one", (ManifestFile("a.tif", GeoMetadata(STARTED, ENDED, geo_json)),), False),
        ManifestOutput("many", (ManifestFile("b.csv"), ManifestFile("c.csv")), True),
    )
    assert manifest.parse_results == (ParseResult("x.h5", "parsed/x", ("H5",), STARTED),)
    assert (manifest.info, manifest.errors) == ({}, {})
    assert manifest.document == document


def test_version_1_0_becomes_1_1() -> None:
    manifest = ResultsManifest.parse(load("results-manifest.version-1-0"))
    assert manifest.outputs == (
        ManifestOutput("one", (ManifestFile("/tmp/a.csv"),), False),
        ManifestOutput("many", (ManifestFile("/tmp/b.csv"), ManifestFile("/tmp/c.csv")), True),
    )
    path = "/tmp/job_exe_231/outputs/myfile.geojson"
    expected = ParseResult("myfile.h5", None, ("H5", "VEG"), STARTED, ENDED, None, path)
    assert manifest.parse_results == (expected,)
    assert manifest.document["version"] == "1.1"
    assert manifest.document["output_data"] == [
        {"name": "one", "file": {"path": "/tmp/a.csv"}},
        {"name": "many", "files": [{"path": "/tmp/b.csv"}, {"path": "/tmp/c.csv"}]},
    ]
    assert ResultsManifest.parse(manifest.document) == manifest


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ({}, 0),
        ({"files": [{"name": "a", "path": "x"}]}, 1),
        ({"output_data": [{"name": "a", "file": {"path": "x"}}]}, 1),
        ({"parse_results": []}, 0),
    ],
)
def test_without_a_version_the_keys_tell(document: object, count: int) -> None:
    assert len(ResultsManifest.parse(document).outputs) == count


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({"version": "1.0", "output_data": []}, ["/output_data"]),
        ({"version": "1.1", "files": []}, ["/files"]),
        ({"files": [], "output_data": []}, ["/files"]),
        ({"version": "1.2"}, ["/version"]),
        ({"version": 1.1}, ["/version"]),
        ({"version": None}, ["/version"]),
    ],
)
def test_versions_are_not_mixed(document: object, places: list[str]) -> None:
    assert [place for place, _ in told(document)] == places


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_older_fields_of_parse_results_count_in_both_versions(version: str) -> None:
    row = {"filename": "a", "data_started": "2015-05-15T10:34:12Z", "gis_data_path": "a.geojson"}
    (result,) = ResultsManifest.parse({"version": version, "parse_results": [row]}).parse_results
    assert result == ParseResult("a", data_started=STARTED, gis_data_path="a.geojson")
    newer = {**row, "geo_metadata": {"data_started": "2015-05-15T10:36:12Z"}}
    (result,) = ResultsManifest.parse({"version": version, "parse_results": [newer]}).parse_results
    assert result.data_started == ENDED


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("free", [{}, [], {"a": [1]}, ["text", {"a": None}]])
def test_information_is_an_object_or_an_array(version: str, free: object) -> None:
    manifest = ResultsManifest.parse({"version": version, "info": free, "errors": free})
    assert (manifest.info, manifest.errors) == (free, free)


@pytest.mark.parametrize("free", ["text", 5, None, True])
def test_information_is_nothing_else(free: object) -> None:
    assert [place for place, _ in told({"info": free})] == ["/info"]


def test_unknown_fields_are_refused_at_the_top_and_kept_below() -> None:
    assert [place for place, _ in told({"infos": []})] == ["/infos"]
    row = {"name": "one", "file": {"path": "x", "note": 1}, "note": 1}
    assert ResultsManifest.parse({"output_data": [row]}).document["output_data"] == [row]


@pytest.mark.parametrize(
    ("row", "places"),
    [
        ({"name": "a"}, ["/output_data/0"]),
        ({"name": "a", "file": {"path": "x"}, "files": []}, ["/output_data/0"]),
        ({"file": {"path": "x"}}, ["/output_data/0"]),
        ({"name": "a", "file": {}}, ["/output_data/0/file"]),
        ({"name": "a", "files": [{"path": ""}]}, ["/output_data/0/files/0/path"]),
        ({"name": "a", "file": "x"}, ["/output_data/0/file"]),
        ({"name": "", "file": {"path": "x"}}, ["/output_data/0/name"]),
    ],
)
def test_wrong_outputs(row: object, places: list[str]) -> None:
    assert [place for place, _ in told({"output_data": [row]})] == places


def test_all_faults_of_geography_and_time_are_told_at_once() -> None:
    geo: dict[str, Any] = {
        "data_started": "x",
        "data_ended": "",
        "geo_json": {"type": "Point", "coordinates": [1]},
    }
    document = {
        "output_data": [
            {"name": "a", "file": {"path": "x", "geo_metadata": geo}},
            {"name": "b", "files": [{"path": "x", "geo_metadata": {"geo_json": {"type": "point"}}}]},
        ],
        "parse_results": [
            {"filename": "a", "geo_metadata": {"geo_json": {}}, "data_types": ["a/b"]},
            {"filename": "b", "new_workspace_path": "../x", "data_ended": "2015-13-01"},
        ],
    }
    assert [place for place, _ in told(document)] == [
        "/output_data/0/file/geo_metadata/data_started",
        "/output_data/0/file/geo_metadata/data_ended",
        "/output_data/0/file/geo_metadata/geo_json/coordinates",
        "/output_data/1/files/0/geo_metadata/geo_json/type",
        "/parse_results/0/geo_metadata/geo_json",
        "/parse_results/0/data_types/0",
        "/parse_results/1/new_workspace_path",
        "/parse_results/1/data_ended",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015-05-15T10:34:12Z", STARTED),
        ("2015-05-15T10:34:12", STARTED),
        ("2015-05-15T12:34:12.000+02:00", STARTED),
        ("20150515T103412Z", STARTED),
        ("2015-05-15", datetime(2015, 5, 15, tzinfo=timezone.utc)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    found = read_time(text)
    assert found == expected
    assert found is not None
    assert found.utcoffset() is not None


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "9999-12-31T23:59:59",
        "9999-12-31T24:00:00",
    ],
)
def test_moments_that_a_database_can_not_give_back_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        read_time(text)


@given(st.text(max_size=30))
def test_any_other_text_is_no_time(text: str) -> None:
    try:
        found = read_time(text)
    except ValueError:
        return
    assert isinstance(found, datetime)
    assert abs(found.utcoffset() or timedelta()) < timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARTIFACT:one:/out/a.csv", [("one", "/out/a.csv")]),
        ("x\nARTIFACT:one:a.csv\r\ny\nARTIFACT:many:b:c.csv\n", [("one", "a.csv"), ("many", "b:c.csv")]),
        (" ARTIFACT:one:a", []),
        ("xARTIFACT:one:a", []),
        ("ARTIFACT:one", []),
        ("ARTIFACT:one\nARTIFACT:two:b", [("two", "b")]),
        ("ARTIFACT::a\nARTIFACT:one:\n", []),
        ("", []),
    ],
)
def test_artifact_lines(text: str, expected: list[tuple[str, str]]) -> None:
    assert artifacts(text) == expected


def test_artifacts_add_outputs_but_the_manifest_wins() -> None:
    manifest = ResultsManifest.parse({"output_data": [{"name": "one", "file": {"path": "a"}}]})
    grown = manifest.with_artifacts([("one", "other"), ("many", "b"), ("many", "c"), ("x", "d")])
    assert [(each.name, [file.path for file in each.files], each.is_list) for each in grown.outputs] == [
        ("one", ["a"], False),
        ("many", ["b", "c"], True),
        ("x", ["d"], False),
    ]
    assert grown.document["output_data"] == [
        {"name": "one", "file": {"path": "a"}},
        {"name": "many", "files": [{"path": "b"}, {"path": "c"}]},
        {"name": "x", "file": {"path": "d"}},
    ]
    checked = grown.check(INTERFACE)
    assert [output.name for output in checked.outputs] == ["one", "many"]
    assert [row["name"] for row in checked.document["output_data"]] == ["one", "many"]
    assert manifest.with_artifacts([]) is manifest


def test_a_single_artifact_may_be_a_files_output() -> None:
    manifest = ResultsManifest.parse({}).with_artifacts([("one", "a"), ("many", "b")]).check(INTERFACE)
    assert [(output.name, output.is_list) for output in manifest.outputs] == [("one", False), ("many", True)]


def test_two_artifacts_are_no_file_output() -> None:
    with pytest.raises(InvalidDocument) as caught:
        ResultsManifest.parse({}).with_artifacts([("one", "a"), ("one", "b")]).check(INTERFACE)
    assert [fault.path for fault in caught.value.faults] == ["/output_data/0"]


def test_unknown_outputs_are_left_out() -> None:
    document = {"output_data": [{"name": "x", "file": {"path": "a"}}, {"name": "one", "file": {"path": "b"}}]}
    assert [output.name for output in ResultsManifest.parse(document).check(INTERFACE).outputs] == ["one"]


def test_required_outputs_and_forms_are_checked_at_once() -> None:
    assert unfit({"output_data": [{"name": "many", "file": {"path": "a"}}]}) == [
        ("/output_data", 'The required output "one" was not produced.'),
        ("/output_data/0", 'The output "many" needs "files", but there is "file".'),
    ]


def test_a_required_files_output_has_files() -> None:
    interface = JobInterface.parse(
        {"command": "a", "command_arguments": "", "output_data": [{"name": "many", "type": "files"}]}
    )
    with pytest.raises(InvalidDocument, match='The required output "many" was not produced'):
        ResultsManifest.parse({"output_data": [{"name": "many", "files": []}]}).check(interface)
    optional = ResultsManifest.parse(
        {"output_data": [{"name": "one", "file": {"path": "a"}}, {"name": "many", "files": []}]}
    )
    assert optional.check(INTERFACE) is optional


def test_a_fitting_manifest_stays_as_it_is() -> None:
    manifest = ResultsManifest.parse(load("results-manifest.everything"))
    assert manifest.check(INTERFACE) is manifest
