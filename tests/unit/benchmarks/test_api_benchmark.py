# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of the REST API fills its databases with, and how it reckons."""

from __future__ import annotations

import random
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"
NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)


@pytest.fixture
def filling(monkeypatch: pytest.MonkeyPatch) -> Any:
    # At the end: the folder has a queue.py.
    monkeypatch.setattr(sys, "path", [*sys.path, str(FOLDER)])
    return import_module("api_sides.filling")


@pytest.fixture
def probes(filling: Any) -> Any:
    return import_module("api_sides.probes")


@pytest.mark.parametrize("count", [300, 10_000])
def test_statuses_have_their_part_of_all_jobs(filling: Any, count: int) -> None:
    found = Counter(filling.statuses(count, random.Random(1)))
    assert found.total() == count
    assert found["RUNNING"] == 40
    assert found["QUEUED"] == count // 10
    assert set(found) == set(filling.STATUSES)


def test_jobs_are_spread_over_the_month_five_a_recipe(filling: Any) -> None:
    made = list(filling.jobs(1_000, list(range(1, 501)), [1, 2], NOW))
    assert [job.number for job in made] == list(range(1, 1_001))
    assert made == list(filling.jobs(1_000, list(range(1, 501)), [1, 2], NOW))
    assert {job.recipe for job in made} == set(range(1, 201))
    assert len({(job.recipe, job.task) for job in made}) == 1_000
    assert NOW - timedelta(days=30) < made[0].created < made[-1].created < NOW
    busy = sum(job.job_type_id == filling.BUSY for job in made)
    assert 20 < busy < 100


@pytest.mark.parametrize(
    ("status", "last", "never"),
    [("PENDING", 0, "queued"), ("QUEUED", 1, "started"), ("RUNNING", 20, "ended"), ("FAILED", 80, None)],
)
def test_a_job_has_the_moments_of_its_status(filling: Any, status: str, last: int, never: str | None) -> None:
    job = filling.Job(1, status, 1, 1, NOW)
    assert job.at("created") == str(NOW)
    assert job.at("last") == str(NOW + timedelta(seconds=last))
    assert never is None or job.at(never) is None


def test_rows_are_read_as_lines_piece_by_piece(filling: Any) -> None:
    lines = filling._Lines(iter([(1, None, "a"), (2, True, ""), (3, 0.5, "b")]))
    pieces = [lines.read(1), lines.read(10_000), lines.read(10_000)]
    assert pieces == ["1\t\\N\ta\n", "2\tTrue\t\n3\t0.5\tb\n", ""]


def test_reading_is_compared_with_the_same_kind_of_filter_and_with_few_jobs(probes: Any) -> None:
    theirs = probes.airflow(probes.STATUS)
    found = probes.Findings(
        alone={
            "/jobs/": {"jobs_10": [5, 4, 6], "jobs_1000": [6, 5, 7]},
            theirs: {"jobs_10": [], "jobs_1000": [60, 20, 90]},
        },
        together={"/jobs/": [10, 20, 30], theirs: [50, 70]},
    )
    ratios = probes.reading_ratios(found, {"/jobs/": probes.STATUS}, (10, 1000), 8)
    assert [(ratio.value, ratio.goal, ratio.better) for ratio in ratios.values()] == [
        (10, 3, "higher"),
        (3, 3, "higher"),
        (1.2, 1.5, "lower"),
    ]
    assert all(ratio.is_met for ratio in ratios.values())


def test_queueing_is_compared_round_by_round(probes: Any) -> None:
    rates = {
        "new-job, 1 client": [10.0, 30.0, 20.0],
        "dagRuns, 1 client": [10.0, 10.0, 10.0],
        "new-job, 8 clients": [5.0],
        "dagRuns, 8 clients": [10.0],
        "new-jobs, 8 clients": [150.0],
    }
    ratios = probes.queueing_ratios(rates, 8)
    assert [(ratio.value, ratio.goal) for ratio in ratios.values()] == [(2.0, 1.0), (0.5, 1.0), (15.0, 10.0)]
    assert [ratio.is_met for ratio in ratios.values()] == [True, False, True]


def test_each_request_has_a_competitor(probes: Any) -> None:
    wanted = probes.probes(1, "name", 2, NOW)
    names = {each.name for each in probes.competitors(NOW)}
    assert {probes.airflow(each.kind) for each in wanted} == names
    assert len({each.name for each in wanted}) == len(wanted)
