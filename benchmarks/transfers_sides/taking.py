# SPDX-License-Identifier: Apache-2.0
"""How each side is told what to do, and how it reports."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def task() -> dict[str, Any]:
    """Return what the file says that the first argument names."""
    told: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return told


def peak_memory(pid: str | int = "self") -> float:
    """Return the MiB that a process has held at most, 0 if it is gone."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def take(work: Callable[[], dict[str, Any] | None]) -> None:
    """Do the work and report its seconds, its processor time and the most memory this process has held.

    Imports come before: an Airflow task has long made its own.
    """
    idle = peak_memory()
    processor, began = time.process_time(), time.perf_counter()
    more = work() or {}
    seconds = time.perf_counter() - began
    report = {
        "seconds": seconds,
        "processor": time.process_time() - processor,
        "memory": peak_memory(),
        "memory before": idle,
        **more,
    }
    print(json.dumps(report), flush=True)
