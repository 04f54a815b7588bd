# SPDX-License-Identifier: Apache-2.0
"""DAG files that people write themselves, loaded as Airflow loads them."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parents[3]


def load(folder: Path) -> DagBag:
    return DagBag(folder, safe_mode=True, bundle_path=folder, bundle_name="users")


def write(folder: Path, call: str, definition: dict[str, Any] | str | None = None) -> DagBag:
    """Make a DAG file of one call, with a definition beside it, and let Airflow load it."""
    if definition is not None:
        text = definition if isinstance(definition, str) else json.dumps(definition, indent=2)
        (folder / "my_recipe.json").write_text(text)
    (folder / "mine.py").write_text(
        f"from scale_airflow import scale_recipe_dag  # an airflow DAG\n\ndag = {textwrap.dedent(call)}\n"
    )
    return load(folder)


@pytest.fixture
def definition() -> dict[str, Any]:
    return {
        "version": "1.0",
        "input_data": [{"name": "image", "type": "file"}],
        "jobs": [
            {"name": "first", "job_type": {"name": "maker", "version": "1.0"}},
            {
                "name": "second job",
                "job_type": {"name": "finder", "version": "1.0"},
                "dependencies": [{"name": "first"}],
            },
        ],
    }


def test_the_example_compiles_wherever_it_is_copied(tmp_path: Path) -> None:
    for name in ("terrain_recipe.py", "terrain_recipe.json"):
        shutil.copy(ROOT / "dags" / name, tmp_path)
    bag = load(tmp_path)
    assert bag.import_errors == {}
    dag = bag.dags["terrain"]
    assert dag.dag_display_name == "terrain 1.0.0"
    edges = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    assert edges == {
        "unpack-scene": ["make-geotiff"],
        "make-geotiff": ["detect-points", "hillshade", "statistics"],
        "detect-points": [],
        "hillshade": [],
        "statistics": [],
    }


def test_the_example_is_the_demos_recipe() -> None:
    configuration = json.loads((ROOT / "examples" / "terrain" / "configuration.json").read_text())
    (terrain,) = (each for each in configuration["recipe_types"] if each["name"] == "terrain")
    assert json.loads((ROOT / "dags" / "terrain_recipe.json").read_text()) == terrain["definition"]
    assert terrain["version"] == "1.0.0"


def test_the_example_is_three_lines() -> None:
    source = (ROOT / "dags" / "terrain_recipe.py").read_text()
    quoted = source.partition("# [START scale_recipe_dag]\n")[2].partition("# [END")[0]
    assert len([line for line in quoted.splitlines() if line]) <= 3


def test_each_task_carries_what_scale_adopts(tmp_path: Path, definition: dict[str, Any]) -> None:
    bag = write(tmp_path, "scale_recipe_dag('my_recipe.json', title='Mine')", definition)
    assert bag.import_errors == {}
    dag = bag.dags["my_recipe"]
    for task in dag.tasks:
        assert task.definition == {
            "name": "my_recipe",
            "version": "1.0.0",
            "title": "Mine",
            "definition": definition,
        }
        assert task.pool == "default_pool"
        assert task.trigger_rule == "all_success"
        assert task.execution_timeout is None
    assert [task.task_display_name for task in dag.tasks] == ["first", "second job"]
    assert list(dag.params) == ["image", "workspace_id"]
    assert dag.timetable.can_be_scheduled is False
    assert dag.max_active_runs > 1000


def test_a_definition_may_be_given_as_it_is(tmp_path: Path, definition: dict[str, Any]) -> None:
    call = f"scale_recipe_dag({definition!r}, name='Terrain maps', version='2', dag_id='mine')"
    bag = write(tmp_path, call)
    assert bag.import_errors == {}
    assert bag.dags["mine"].dag_display_name == "Terrain maps 2"
    assert bag.dags["mine"].tasks[0].definition["name"] == "Terrain maps"


def test_airflows_own_arguments_win(tmp_path: Path, definition: dict[str, Any]) -> None:
    call = "scale_recipe_dag('my_recipe.json', name='漢字', max_active_runs=2, tags=['mine'])"
    bag = write(tmp_path, call, definition)
    (dag,) = bag.dags.values()
    assert dag.dag_id.isascii()
    assert dag.dag_display_name == "漢字 1.0.0"
    assert dag.max_active_runs == 2
    assert dag.tags == {"mine"}


def test_an_edited_definition_is_a_new_version_to_airflow(tmp_path: Path, definition: dict[str, Any]) -> None:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    def hashed() -> str:
        dag = write(tmp_path, "scale_recipe_dag('my_recipe.json')", definition).dags["my_recipe"]
        return SerializedDagModel.hash(LazyDeserializedDAG.from_dag(dag).data)  # type: ignore[no-untyped-call,no-any-return]

    before = hashed()
    assert hashed() == before
    definition["jobs"][1]["job_type"]["version"] = "1.1"
    assert hashed() != before


def test_faults_name_file_line_and_column(tmp_path: Path, definition: dict[str, Any]) -> None:
    definition["jobs"][1]["dependencies"][0]["name"] = "frist"
    definition["input_data"][0]["type"] = "fil"
    bag = write(tmp_path, "scale_recipe_dag('my_recipe.json')", definition)
    (error,) = bag.import_errors.values()
    lines = (tmp_path / "my_recipe.json").read_text().splitlines()
    for wrong, pointer in (('"frist"', "/jobs/1/dependencies/0/name"), ('"fil"', "/input_data/0/type")):
        (number,) = (at for at, line in enumerate(lines, 1) if wrong in line)
        column = lines[number - 1].index('"') + 1
        assert f"my_recipe.json:{number}:{column} {pointer}" in error
    assert "first" in error  # the nearest valid name


@pytest.mark.parametrize(
    ("definition_text", "said"),
    [(None, "can't be read as UTF-8 text"), ("{", "my_recipe.json:1:"), ("[]", "my_recipe.json:1:1")],
)
def test_a_file_that_is_no_definition_is_an_error_that_names_it(
    tmp_path: Path, definition_text: str | None, said: str
) -> None:
    bag = write(tmp_path, "scale_recipe_dag('my_recipe.json')", definition_text)
    (error,) = bag.import_errors.values()
    assert said in error
    assert "InvalidDocument" in error


def test_a_document_needs_a_name(tmp_path: Path, definition: dict[str, Any]) -> None:
    bag = write(tmp_path, f"scale_recipe_dag({definition!r})")
    (error,) = bag.import_errors.values()
    assert "name= is needed" in error
