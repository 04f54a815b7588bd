# SPDX-License-Identifier: Apache-2.0
"""``airflow scale validate`` and ``compile`` on files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "terrain"

BROKEN_INTERFACE = """{
  "version": "1.0",
  "command": "detect",
  "command_arguments": "${imgae} ${job_output_dir}",
  "input_data": [
    {"name": "image", "type": "fiel"}
  ]
}
"""


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "interface.json"
    path.write_text(BROKEN_INTERFACE)
    return str(path)


def recipe_definition() -> dict[str, Any]:
    configuration = json.loads((EXAMPLE / "configuration.json").read_text())
    definition: dict[str, Any] = configuration["recipe_types"][0]["definition"]
    return definition


@pytest.mark.parametrize("kind", ["configuration", "setup"])
def test_the_examples_are_valid(kind: str, scale: Callable[..., Any]) -> None:
    outcome = scale("validate", kind, str(EXAMPLE / f"{kind}.json"))
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "1 of 1 file is valid, 0 faults.\n"


def test_every_fault_is_told_with_its_place(broken: str, scale: Callable[..., Any]) -> None:
    outcome = scale("validate", "job-interface", broken)
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{broken}:4:3: /command_arguments: ")
    assert 'Did you mean "image"?' in lines[0]
    assert lines[1].startswith(f"{broken}:6:23: /input_data/0/type: ")
    assert 'Did you mean "file"?' in lines[1]


def test_json_output_has_the_places_as_numbers(broken: str, scale: Callable[..., Any]) -> None:
    sound = str(EXAMPLE / "configuration.json")
    outcome = scale("validate", "job-interface", broken, "-o", "json")
    assert outcome.code == 1
    faults = json.loads(outcome.out)
    assert [(each["line"], each["column"], each["pointer"]) for each in faults] == [
        (4, 3, "/command_arguments"),
        (6, 23, "/input_data/0/type"),
    ]
    assert all(each["file"] == broken and each["rule"] for each in faults)
    assert json.loads(scale("validate", "configuration", sound, "-o", "json").out) == []


def test_one_wrong_file_of_many_is_found(broken: str, scale: Callable[..., Any], tmp_path: Path) -> None:
    sound = tmp_path / "sound.json"
    sound.write_text('{"version": "1.0", "command": "a", "command_arguments": ""}')
    outcome = scale("validate", "job-interface", str(sound), broken)
    assert outcome.code == 1
    assert "1 of 2 file is valid, 2 faults." in outcome.err


@pytest.mark.parametrize(
    ("content", "place", "told"),
    [
        (b'{"version": "1.0",\n  "command" "x"}', "2:13", "This is not JSON"),
        (b"", "1:1", "This is not JSON"),
        (b'{"version": "\xff"}', "1:1", "not UTF-8 text: byte 13"),
        (b'{"version": "1.0", "version": "1.0"}', "1:20", "more than once"),
    ],
)
def test_a_file_that_is_no_json_is_a_fault(
    content: bytes, place: str, told: str, scale: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    outcome = scale("validate", "job-interface", str(path))
    assert outcome.code == 1
    assert outcome.out.startswith(f"{path}:{place}: ")
    assert told in outcome.out


def test_a_missing_file_is_a_fault(scale: Callable[..., Any], tmp_path: Path) -> None:
    outcome = scale("validate", "setup", str(tmp_path / "none.json"))
    assert outcome.code == 1
    assert "none.json can't be read: No such file or directory." in outcome.out


def test_an_unknown_kind_is_refused_with_the_known_ones(scale: Callable[..., Any]) -> None:
    outcome = scale("validate", "jobinterface", "x.json")
    assert outcome.code == 2
    assert "job-interface" in outcome.err


def test_compile_prints_a_dag_file_that_makes_the_recipe(scale: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "terrain.json"
    path.write_text(json.dumps(recipe_definition()))
    outcome = scale("compile", str(path), "--type-version", "1.0.0", "--title", "It's {{ terrain }}")
    assert outcome.code == 0
    generated = tmp_path / "generated.py"
    generated.write_text(outcome.out + "\nprint(dag.dag_id, sorted(dag.task_ids))\n")
    done = subprocess.run([sys.executable, str(generated)], capture_output=True, text=True, check=True)
    for job in recipe_definition()["jobs"]:
        assert job["name"] in done.stdout


def test_compile_writes_into_a_directory(scale: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "terrain.json"
    path.write_text(json.dumps(recipe_definition()))
    outcome = scale("compile", str(path), "--output-dir", str(tmp_path))
    assert outcome.code == 0
    written = Path(outcome.out.strip())
    assert written.parent == tmp_path
    assert '"""An Airflow DAG, compiled from a Scale recipe type."""' in written.read_text()


def test_compile_refuses_a_wrong_definition_with_its_places(broken: str, scale: Callable[..., Any]) -> None:
    outcome = scale("compile", "--kind", "job", broken)
    assert (outcome.code, outcome.out) == (1, "")
    assert f"{broken}:4:3: " in outcome.err


def test_compile_needs_a_directory_that_exists(scale: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "terrain.json"
    path.write_text(json.dumps(recipe_definition()))
    outcome = scale("compile", str(path), "--output-dir", str(tmp_path / "none"))
    assert outcome.code == 1
    assert outcome.err.strip().endswith("is not a directory; make it first.")
