# SPDX-License-Identifier: Apache-2.0
"""Competitors, each installed with a pinned version in an environment of its own below ``.benchmarks/``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from measuring.isolation import STATE

# Packages that are installed from a checkout have no version that an index knows.
_OURS = ("scale-airflow", "scale-terrain-example")


def environment_with(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with these requirements, made where it is not there yet.

    Whatever else the requirements need has the same version as in the running environment, so that both
    sides stand on the same Airflow.

    :raises subprocess.CalledProcessError: if pip can't install something; what it printed stands above.
    """
    folder = STATE / f"environment-{name}"
    python = folder / "bin" / "python"
    pins = _installed()
    stamp = folder / "made-from.sha256"
    wanted = hashlib.sha256("\n".join([sys.version, *requirements, *pins]).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Installing {', '.join(requirements)} into {folder} (once; a minute or more) …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", constraints, *requirements], check=True)
    stamp.write_text(wanted)
    return python


def _installed() -> list[str]:
    """Return what is installed beside us, as pins."""
    found = {found.metadata["Name"].lower(): found.version for found in distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name not in _OURS)
