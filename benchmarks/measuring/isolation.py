# SPDX-License-Identifier: Apache-2.0
"""Runs one side of a comparison in a process of its own, with an Airflow home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".benchmarks"


class SideError(Exception):
    """A side of a comparison did not end as it should; carries the end of what it printed."""


def airflow_environment(home: Path, **settings: str) -> dict[str, str]:
    """Return environment variables for an Airflow that knows nothing of the one of this machine.

    :param settings: further variables.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/unused.db",
        # Nothing is reported to anybody while time is taken.
        "DO_NOT_TRACK": "1",
        "SCARF_NO_ANALYTICS": "true",
        **settings,
    }


def run_side(
    script: Path, *arguments: object, environment: dict[str, str], python: Path = Path(sys.executable)
) -> Any:
    """Run a script and return the JSON of its last line of output.

    :raises SideError: if it ends with another code than 0, or without JSON.
    """
    command = [str(python), str(script), *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        if ended.returncode:
            raise ValueError(f"exit code {ended.returncode}")
        return json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        said = (ended.stdout + ended.stderr)[-4000:]
        raise SideError(f"{script.name} failed ({error}):\n{said}") from error
