# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow with Scale, started as the demo starts it, in a temporary folder and on a free port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo import processes
from demo.installation import Installation
from tests.e2e.system import RUNNING, Scale, first_scene, running_installation


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """An installation whose jobs run as processes."""
    yield from running_installation({})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show with a failure what went wrong in the processes."""
    report: Any = yield
    if report.failed:
        for each in RUNNING:
            for log in sorted(each.logs.glob("*.log")):
                lines = [line for line in processes.tail(log, 400).splitlines() if _is_trouble(line)]
                if lines:
                    report.sections.append((log.name, "\n".join(line[:400] for line in lines[-15:])))
    return report


def _is_trouble(line: str) -> bool:
    return any(
        word in line
        for word in ("[error", "[critical", "Traceback", "Error:", " ended with -", " ended with 1")
    )


@pytest.fixture(scope="session")
def scale(installation: Installation) -> Scale:
    """What tests do with the installation."""
    return Scale(installation)


@pytest.fixture(scope="session")
def terrain(scale: Scale) -> dict[str, Any]:
    """The example's recipe, finished, and its source file."""
    return first_scene(scale)
