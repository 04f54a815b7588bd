# SPDX-License-Identifier: Apache-2.0
"""Every way in which results can be wrong is said, and nothing outside the output directory is a product."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution import collect
from scale_airflow.execution.collect import Moved, Results, ResultsFailure, collect_results
from scale_airflow.execution.staging import SizeLimit

INTERFACE = JobInterface.parse(
    {
        "version": "1.0",
        "command": "x",
        "command_arguments": "",
        "output_data": [
            {"name": "one", "type": "file", "required": False, "media_type": "image/special"},
            {"name": "many", "type": "files", "required": False},
        ],
    }
)
POINT = {"type": "Point", "coordinates": [1.0, 2.0]}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    (made / "a.png").write_text("a")
    (made / "sub").mkdir()
    (made / "sub" / "b.json").write_text("{}")
    (tmp_path / "secret").write_text("s")
    return made


def run(out: Path, manifest: Any = None, artifacts: str = "", interface: JobInterface = INTERFACE) -> Results:
    if manifest is not None:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        (out / "results_manifest.json").write_text(text)
    return collect_results(interface, out, artifacts)


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(ResultsFailure) as caught:
        run(*arguments, **options)
    assert isinstance(caught.value, ExecutionFailure)
    assert caught.value.error_name == "unknown"
    return str(caught.value)


def test_nothing_is_fine_where_nothing_is_required(out: Path) -> None:
    results = run(out)
    assert results.outputs == results.parse_results == ()
    assert results.manifest["version"] == "1.1"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_paths_of_the_machine_where_it_ran(out: Path, version: str) -> None:
    there = "/far/work of you/out"
    geo = {"geo_metadata": {"geo_json": {**POINT, "name": f"{there}-x"}}}
    manifest: dict[str, Any] = {
        "version": version,
        "parse_results": [{"filename": "in.txt", "gis_data_path": f"{there}/sub/b.json"}],
    }
    if version == "1.1":
        manifest["output_data"] = [{"name": "one", "file": {"path": f"{there}/a.png", **geo}}]
    else:
        manifest["files"] = [{"name": "one", "path": f"{there}/a.png", **geo}]
    (out / "sub" / "b.json").write_text(json.dumps(POINT))
    (out / "results_manifest.json").write_text(json.dumps(manifest))
    results = collect_results(
        INTERFACE, out, f"ARTIFACT:many:{there}/sub/b.json", moved=Moved(there, str(out))
    )
    here = json.loads(json.dumps(manifest).replace(f"{there}/", f"{out}/"))
    (out / "results_manifest.json").write_text(json.dumps(here))
    assert results == collect_results(INTERFACE, out, f"ARTIFACT:many:{out}/sub/b.json")
    assert [file.path for output in results.outputs for file in output.files] == ["a.png", "sub/b.json"]
    assert results.parse_results[0].geo_json == POINT


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_both_versions(out: Path, version: str) -> None:
    manifest: dict[str, Any] = {"version": version}
    if version == "1.1":
        manifest["output_data"] = [
            {"name": "one", "file": {"path": str(out / "a.png")}},
            {"name": "many", "files": [{"path": "./sub//b.json"}]},
        ]
    else:
        manifest["files"] = [
            {"name": "one", "path": "a.png"},
            {"name": "many", "paths": [f"{out}/sub/b.json"]},
        ]
    one, many = run(out, manifest).outputs
    assert [(file.path, file.media_type) for file in (*one.files, *many.files)] == [
        ("a.png", "image/special"),
        ("sub/b.json", "application/json"),
    ]
    assert (one.is_list, many.is_list) == (False, True)
    assert many.files[0].source == out / "sub" / "b.json"


def test_artifacts_stand_behind_the_manifest(out: Path) -> None:
    results = run(
        out,
        {"output_data": [{"name": "one", "file": {"path": "a.png"}}]},
        "ARTIFACT:one:sub/b.json\nARTIFACT:many:sub/b.json\nARTIFACT:many:sub/b.json\nARTIFACT:other:x",
    )
    assert [(output.name, [file.path for file in output.files]) for output in results.outputs] == [
        ("one", ["a.png"]),
        ("many", ["sub/b.json"]),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"a": NaN}', '{"version": "9"}', "[" * 100_000, '{"a": "\ud800"}', '{"x": "\\u0000"}'],
)
def test_a_manifest_that_is_none(out: Path, text: str) -> None:
    (out / "results_manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert "Wrong results" in refusal(out)


def test_a_manifest_that_is_too_large(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (out / "results_manifest.json").open("wb") as file:
        file.truncate(50_000_000)
    monkeypatch.setattr(collect, "load_json", lambda text: pytest.fail("it was read"))
    text = refusal(out)
    assert "'results_manifest.json' has 50000000 bytes; at most 10485760 (10 MiB) are read" in text


def test_a_manifest_that_is_no_file(out: Path) -> None:
    manifest = out / "results_manifest.json"
    os.mkfifo(manifest)
    assert "not a regular file" in refusal(out)
    manifest.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(manifest))
        assert "a socket, not a regular file" in refusal(out)
    manifest.unlink()
    (out / "results_manifest.json").symlink_to("/etc/hostname")
    assert "link" in refusal(out)


def test_required_outputs_and_their_kind(out: Path) -> None:
    interface = JobInterface.parse(
        {
            "command": "x",
            "command_arguments": "",
            "output_data": [{"name": "must", "type": "file"}, {"name": "many", "type": "files"}],
        }
    )
    text = refusal(
        out, {"output_data": [{"name": "many", "file": {"path": "a.png"}}]}, "", interface=interface
    )
    assert '"must"' in text
    assert '"many"' in text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../secret", "inside the job's output directory"),
        ("sub/../../secret", "inside the job's output directory"),
        ("/etc/passwd", "inside the job's output directory"),
        ("{out}/../secret", "inside the job's output directory"),
        ("{out}", "inside the job's output directory"),
        ("{out}2/x", "inside the job's output directory"),
        (".", "inside the job's output directory"),
        ("none", "There is no 'none'"),
        ("none/none", "There is no"),
        ("a.png/x", "no directory"),
        ("sub", "a directory"),
        ("link", "leads out"),
        ("dirlink/hostname", "leads out"),
        ("loop", "link"),
        ("pipe", "a pipe"),
        ("socket", "a socket"),
        ("new\nline", "control character"),
        ("x" * 256, "255 bytes"),
        ("é" * 130, "255 bytes"),
    ],
)
def test_paths_that_are_refused(out: Path, path: str, words: str) -> None:
    (out / "link").symlink_to("../secret")
    (out / "dirlink").symlink_to("/etc")
    (out / "loop").symlink_to("loop")
    os.mkfifo(out / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(out / "socket"))
    (out / "new\nline").write_text("")
    path = path.replace("{out}", str(out))
    assert words in refusal(out, {"output_data": [{"name": "one", "file": {"path": path}}]})


def test_names_in_other_bytes_are_refused(out: Path) -> None:
    with open(os.fsencode(out) + b"/\xff", "w"):
        pass
    assert "not valid UTF-8" in refusal(out, None, "ARTIFACT:one:\udcff")


def test_all_faults_are_said_at_once(out: Path) -> None:
    text = refusal(
        out,
        {
            "output_data": [
                {"name": "one", "file": {"path": "none"}},
                {"name": "many", "files": [{"path": "a.png"}, {"path": "a.png"}, {"path": "../x"}]},
            ],
            "parse_results": [{"filename": "f", "gis_data_path": "none.json"}],
        },
    )
    assert "output 'one': There is no 'none'" in text
    assert "'a.png' is given twice" in text
    assert "'../x'" in text
    assert "parse_results/0: There is no 'none.json'" in text


def test_a_file_that_two_outputs_claim(out: Path) -> None:
    manifest = {
        "output_data": [
            {"name": "one", "file": {"path": "a.png"}},
            {"name": "many", "files": [{"path": "a.png"}]},
        ]
    }
    assert "given twice, first for output 'one'" in refusal(out, manifest)


def test_a_link_inside_is_its_target_under_its_own_name(out: Path) -> None:
    (out / "latest.png").symlink_to(out / "a.png")
    (output,) = run(out, None, "ARTIFACT:one:latest.png").outputs
    assert output.files[0].path == "latest.png"
    assert output.files[0].source == out / "a.png"


def test_parse_results_with_their_geometry(out: Path) -> None:
    feature = {"type": "Feature", "geometry": POINT, "properties": {"a": 1}}
    (out / "gis.json").write_text(json.dumps(feature))
    manifest = {
        "parse_results": [
            {
                "filename": "f.h5",
                "new_workspace_path": "new/place",
                "data_types": ["H5", "VEG"],
                "geo_metadata": {"data_started": "2015-05-15T10:34:12Z", "geo_json": feature},
            },
            {"filename": "g", "gis_data_path": "gis.json", "data_ended": "2015-05-15T10:34:12Z"},
            {"filename": "h", "geo_metadata": {"geo_json": POINT}},
        ]
    }
    first, second, third = run(out, manifest).parse_results
    assert (first.geo_json, first.meta_data) == (feature, {"a": 1})
    assert (first.new_workspace_path, first.data_types) == ("new/place", ("H5", "VEG"))
    assert first.data_started == "2015-05-15T10:34:12+00:00"
    assert (second.geo_json, second.meta_data) == (feature, feature)
    assert second.data_ended == "2015-05-15T10:34:12+00:00"
    assert (third.geo_json, third.meta_data) == (POINT, {})


@pytest.mark.parametrize("content", ["{", '{"type": "Nothing"}', '{"type": "Point", "coordinates": ["a"]}'])
def test_gis_data_that_is_no_geojson(out: Path, content: str) -> None:
    (out / "gis.json").write_text(content)
    text = refusal(out, {"parse_results": [{"filename": "g", "gis_data_path": "gis.json"}]})
    assert "parse_results/0" in text


def test_the_manifest_goes_with_the_refusal(out: Path) -> None:
    manifest = {"version": "1.1", "output_data": [{"name": "one", "file": {"path": "none"}}], "info": []}
    (out / "results_manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ResultsFailure) as caught:
        collect_results(INTERFACE, out, "")
    assert caught.value.manifest == manifest


def test_too_many_artifacts(out: Path) -> None:
    with pytest.raises(ResultsFailure, match="ARTIFACT"):
        collect_results(INTERFACE, out, "", too_many_artifacts=True)


def test_an_output_directory_that_is_a_link_is_not_entered(out: Path, tmp_path: Path) -> None:
    # A job can put one in its place: whatever lies behind it on the host would become a product.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_text("secret")
    out.rename(tmp_path / "away")
    out.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResultsFailure, match=r"took its output directory away: .* is a link"):
        collect_results(INTERFACE, out, "ARTIFACT:one:a.png")
    out.unlink()
    with pytest.raises(ResultsFailure, match="took its output directory away"):
        collect_results(INTERFACE, out, "")


def test_a_file_of_holes_counts_as_a_whole_and_a_full_one_as_it_is(out: Path) -> None:
    with (out / "holes").open("wb") as file:
        file.truncate(10 << 30)
    (out / "full").write_bytes(b"x" * (3 << 20))
    limit = SizeLimit(2 << 20, "that there is")
    text = "ARTIFACT:one:holes\nARTIFACT:many:full"
    with pytest.raises(
        ResultsFailure, match=r"10240 MiB long, of which 0 MiB .* than the 2 MiB that there is"
    ):
        collect_results(INTERFACE, out, text, size_limit=limit)
    (found,) = collect_results(INTERFACE, out, "ARTIFACT:many:full", size_limit=limit).outputs
    assert found.name == "many"
    assert len(collect_results(INTERFACE, out, text).outputs) == 2


def test_more_than_can_be_reported_is_refused_before_it_is_stored(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "MAX_REPORT", 1 << 20)
    feature = {"type": "Feature", "geometry": POINT, "properties": {"a": "x" * (600 << 10)}}
    (out / "gis.json").write_text(json.dumps(feature))
    one = {"parse_results": [{"filename": "g", "gis_data_path": "gis.json"}]}
    assert "at most 1 MiB can be reported" in refusal(out, one)
