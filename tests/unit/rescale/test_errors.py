# SPDX-License-Identifier: Apache-2.0
"""The errors of Rescale: one tree, each told apart, and whole after they went from process to process."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal

import pytest

from scale_airflow import errors
from scale_airflow.errors import Fault, RescaleError, ScaleError

MADE = [
    errors.RescaleError("m", status=400, job_id="J", detail="d"),
    errors.RescaleRefused("m", status=400, job_id="J", detail="d", faults=[Fault("/a", "b")]),
    errors.RescaleThrottled("m", status=429, retry_after=3.0),
    errors.RescaleJobFailed("m", job_id="J", reason="r", last_lines=["a", "b"]),
    errors.RescaleCostRefused("m", estimate=Decimal("1.5"), limit=Decimal(1)),
    errors.UnsafeName("m", name="../x"),
    errors.RescaleUncertain("m", status=504),
]


def family(kind: type[ScaleError]) -> set[type[ScaleError]]:
    """The errors of the tree; other modules may have more for themselves."""
    own = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return {kind}.union(*map(family, own))


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_errors_travel_whole(error: RescaleError) -> None:
    for arrived in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(arrived) is type(error)
        assert str(arrived) == "m"
        assert vars(arrived) == vars(error)


def test_the_tree_that_the_module_shows() -> None:
    assert errors.__doc__ is not None
    shown = [line for line in errors.__doc__.splitlines() if "─" in line]
    for kind in family(RescaleError):
        (line,) = (line for line in shown if f"─ {kind.__name__} " in line)
        (parent,) = kind.__bases__
        above = shown[: shown.index(line)]
        depth = line.index("─")
        nearest = next((each for each in reversed(above) if each.index("─") < depth), "    ScaleError")
        assert nearest.split("─ ")[-1].split()[0] == parent.__name__


def test_every_error_says_when_it_is_raised() -> None:
    assert all(kind.__doc__ for kind in family(RescaleError))
