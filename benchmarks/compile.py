# SPDX-License-Identifier: Apache-2.0
"""Compile 10, 100 and 1,000 recipe types of five jobs, against a hand-written loop and dag-factory.

``python benchmarks/compile.py [--repetitions N]``

Two comparisons, per DAG and after the imports, in processor time of one process:

* What is described is in memory. **scale-airflow** validates a recipe definition, its structure and its
  meaning, also against the interfaces of its job types (which are validated too, once a run), and builds the
  DAG. **A hand-written loop** builds a DAG with the same tasks and edges from a Python literal, with
  Airflow's own DockerOperator and without any check. (ScaleJobOperator, a DockerOperator, gets image, command
  and limits with its claim, so it has less to set while a DAG is built.)
* What is described is in files. **scale-airflow** reads a JSON file a recipe type, validates and builds as
  above. **dag-factory** 1.1.0, in an environment of its own with the same versions of Airflow and the Docker
  provider, loads the same graph from a YAML file a DAG with ``load_yaml_dags``.

And the time in which Airflow's task runner loads **one** DAG from our bundle in a worker's process, where
10 and where 1,000 recipe types have generated files.

Each side runs in processes of its own; the sides take turns, and figures are medians over the repetitions.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the standard library's queue, not queue.py beside this file

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from compile_sides import recipes
from measuring.competitors import environment_with
from measuring.isolation import airflow_environment, run_side
from measuring.report import Ratio, finish, table

SIDES = Path(__file__).with_name("compile_sides")
SIZES = (10, 100, 1000)
FEW, MANY = 10, 1000
LOADS = 100
DAG_FACTORY = "dag-factory==1.1.0"
OURS_MEMORY, BY_HAND = "scale-airflow, from memory", "hand-written loop, from memory"
OURS_FILES, OTHER = "scale-airflow, from files", "dag-factory, from files"


def main() -> None:
    """Prepare the inputs, let the sides take turns, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7, help="processes of each side (7)")
    repetitions = parser.parse_args().repetitions
    competitor = environment_with("dag-factory", _same_airflow())
    with tempfile.TemporaryDirectory(prefix="scale-bench-") as name:
        folder = Path(name)
        recipes.write_documents(folder / "scale", max(SIZES))
        recipes.write_literal(folder / "by_hand.py", max(SIZES))
        recipes.write_yaml(folder / "dag-factory", max(SIZES))
        compiled = _compile(folder, competitor, repetitions)
        loaded = _load(folder, repetitions)
    print("Milliseconds a DAG of five tasks, medians:\n")
    print(_compile_table(compiled))
    print("\nMilliseconds in which a task's process loads its DAG, medians:\n")
    print(_load_table(loaded))
    finish(
        "compile",
        _ratios(compiled, loaded),
        milliseconds_by_number_of_types=compiled,
        milliseconds_to_load_by_number_of_types={"load one DAG": loaded},
    )


def _same_airflow() -> list[str]:
    from importlib.metadata import version

    packages = ("apache-airflow", "apache-airflow-providers-docker")
    return [DAG_FACTORY, *(f"{package}=={version(package)}" for package in packages)]


def _compile(folder: Path, competitor: Path, repetitions: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds a DAG, by side and number of DAGs."""
    environment = airflow_environment(folder / "airflow")
    sizes = json.dumps(SIZES)
    sides = {
        OURS_MEMORY: ("scale.py", folder / "scale", "memory"),
        BY_HAND: ("by_hand.py", folder / "by_hand.py"),
        OURS_FILES: ("scale.py", folder / "scale", "files"),
        OTHER: ("dag_factory.py", folder / "dag-factory"),
    }
    pythons = {OTHER: competitor}
    times: dict[str, dict[str, list[float]]] = {side: {str(size): [] for size in SIZES} for side in sides}
    names = list(sides)
    for number in range(repetitions):
        # Who begins changes from turn to turn.
        for side in names[number % len(names) :] + names[: number % len(names)]:
            print(f"turn {number + 1} of {repetitions}: {side}", flush=True)
            script, *arguments = sides[side]
            found = run_side(
                SIDES / script,
                *arguments,
                sizes,
                environment=environment,
                python=pythons.get(side, Path(sys.executable)),
            )
            for size, taken in found.items():
                times[side][size].append(statistics.median(taken))
    return {
        side: {size: statistics.median(taken) for size, taken in by_size.items()}
        for side, by_size in times.items()
    }


def _load(folder: Path, repetitions: int) -> dict[str, float]:
    """Return the median milliseconds to load one DAG, by the number of recipe types."""
    directories = {str(count): folder / f"generated-{count}" for count in (FEW, MANY)}
    bundle = "scale_airflow.compiler.bundle.ScaleDagBundle"
    for count, directory in directories.items():
        _generate(directory, int(count))
    bundles = [
        {"name": count, "classpath": bundle, "kwargs": {"path": str(path)}}
        for count, path in directories.items()
    ]
    environment = airflow_environment(
        folder / "airflow", AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(bundles)
    )
    paths = json.dumps({count: str(path) for count, path in directories.items()})
    times: dict[str, list[float]] = {count: [] for count in directories}
    for number in range(repetitions):
        print(f"turn {number + 1} of {repetitions}: load one DAG", flush=True)
        for count, taken in run_side(SIDES / "load_one.py", paths, LOADS, environment=environment).items():
            times[count].append(taken)
    return {count: statistics.median(taken) for count, taken in times.items()}


def _generate(directory: Path, count: int) -> None:
    from scale_airflow.compiler.dag_files import recipe_dag_file
    from scale_airflow.compiler.local_files import LocalDagFiles

    files = LocalDagFiles(directory)
    for number in range(count):
        dag_file = recipe_dag_file(recipes.recipe_name(number), "1.0.0", 1, None, recipes.definition())
        files.write(dag_file)


def _ratios(compiled: dict[str, dict[str, float]], loaded: dict[str, float]) -> dict[str, Ratio]:
    ratios = {}
    for size in map(str, SIZES):
        ratios[f"{size} types: validation and build, of a hand-written loop's time"] = Ratio(
            compiled[OURS_MEMORY][size] / compiled[BY_HAND][size], 1.5, "lower"
        )
        ratios[f"{size} types: times faster than dag-factory"] = Ratio(
            compiled[OTHER][size] / compiled[OURS_FILES][size], 4.0, "higher"
        )
    ratios[f"load one DAG among {MANY} types, of the time among {FEW}"] = Ratio(
        loaded[str(MANY)] / loaded[str(FEW)], 1.1, "lower"
    )
    return ratios


def _compile_table(compiled: dict[str, dict[str, float]]) -> str:
    rows = [(side, *(f"{by_size[str(size)]:.2f}" for size in SIZES)) for side, by_size in compiled.items()]
    return table(("", *(f"{size} DAGs" for size in SIZES)), rows)


def _load_table(loaded: dict[str, Any]) -> str:
    return table(
        ("", *(f"among {count}" for count in loaded)),
        [("load one DAG", *(f"{taken:.2f}" for taken in loaded.values()))],
    )


if __name__ == "__main__":
    main()
