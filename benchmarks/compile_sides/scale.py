# SPDX-License-Identifier: Apache-2.0
"""Scale's side: read each recipe type's JSON file, check it against its job types, build its DAG."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from timing import report_compile_times

from scale_airflow.compiler.dags import recipe_dag
from scale_airflow.definitions.documents import load_json
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.recipe_definition import RecipeDefinition

FOLDER = Path(sys.argv[1])


def compile_all(size: int) -> dict[str, Any]:
    """Read, validate and build ``size`` recipe types, and first the job types that they run."""
    interfaces = {
        (row["name"], row["version"]): JobInterface.parse(row["interface"])
        for row in load_json((FOLDER / "job_types.json").read_bytes())
    }
    dags = {}
    for number in range(size):
        name = f"recipe-{number:04d}"
        document = load_json((FOLDER / f"{name}.json").read_bytes())
        RecipeDefinition.parse(document).check(interfaces)
        dag = recipe_dag(name=name, version="1.0.0", revision=1, title=None, definition=document)
        dags[dag.dag_id] = dag
    return dags


report_compile_times(json.loads(sys.argv[2]), compile_all)
