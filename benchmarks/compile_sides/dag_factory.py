# SPDX-License-Identifier: Apache-2.0
"""dag-factory's side: it loads a YAML file for each DAG. Runs in dag-factory's own environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dagfactory import load_yaml_dags
from timing import report_compile_times

FOLDER = Path(sys.argv[1])


def compile_all(size: int) -> dict[str, Any]:
    """Load ``size`` YAML files in the documented way: one call a file."""
    dags: dict[str, Any] = {}
    for number in range(size):
        load_yaml_dags(globals_dict=dags, config_filepath=str(FOLDER / f"recipe-{number:04d}.yaml"))
    return dags


report_compile_times(json.loads(sys.argv[2]), compile_all)
