# SPDX-License-Identifier: Apache-2.0
"""Scale's side: check each recipe type against its job types, build its DAG.

``memory`` as the second argument: its document is there already, as in a request to the REST API; ``files``:
it is read from a JSON file first.
"""

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
SOURCE = sys.argv[2]
SIZES = json.loads(sys.argv[3])


def read(name: str) -> Any:
    """Read a document as the command line does: strictly."""
    return load_json((FOLDER / f"{name}.json").read_bytes())


NAMES = [f"recipe-{number:04d}" for number in range(max(SIZES))]
IN_MEMORY = {name: read(name) for name in ["job_types", *NAMES]} if SOURCE == "memory" else {}


def compile_all(size: int) -> dict[str, Any]:
    """Validate and build ``size`` recipe types, and first the job types that they run."""
    document_of = IN_MEMORY.__getitem__ if SOURCE == "memory" else read
    interfaces = {
        (row["name"], row["version"]): JobInterface.parse(row["interface"])
        for row in document_of("job_types")
    }
    dags = {}
    for name in NAMES[:size]:
        document = document_of(name)
        RecipeDefinition.parse(document).check(interfaces)
        dag = recipe_dag(name=name, version="1.0.0", revision=1, title=None, definition=document)
        dags[dag.dag_id] = dag
    return dags


report_compile_times(SIZES, compile_all)
