# SPDX-License-Identifier: Apache-2.0
"""How the jobs of each type are doing, against what a plain count of all jobs says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text
from work import queued
from world import World

from scale_airflow.services.job_type_status import JobCount, job_counts, list_status
from scale_airflow.services.listing import Window
from scale_airflow.store.models import JOB_STATUSES, ErrorModel, Job, JobType, utcnow

HOURS = (6, 12, 24)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The moment that all counts are made at."""
    now = utcnow()
    for module in ("job_type_status", "time_ranges"):
        monkeypatch.setattr(f"scale_airflow.services.{module}.utcnow", lambda: now)
    return now


@pytest.fixture
def types(world: World, now: datetime) -> list[JobType]:
    """Three job types, the first two with a hundred jobs of all sorts between now and two days ago."""
    types = [world.job_type(name) for name in ("one", "two", "none")]
    errors = list(world.session.scalars(select(ErrorModel)))
    chance = random.Random(7)
    columns = ", ".join(each.name for each in Job.__table__.columns if each.name != "id")
    for job_type in types[:2]:
        job = queued(world, job_type)
        copied = f"INSERT INTO scale_job ({columns}) SELECT {columns} FROM scale_job, generate_series(1, 49)"
        world.session.execute(text(f"{copied} WHERE id = :id"), {"id": job.id})
    for job in world.session.scalars(select(Job)):
        job.status = chance.choice(JOB_STATUSES)
        job.last_status_change = now - timedelta(hours=chance.randrange(2 * 24))
        job.error_id = chance.choice([*(each.id for each in errors), None])
    world.session.commit()
    return types


def counted(world: World, job_type: JobType, counts: Callable[[Job], bool]) -> list[JobCount]:
    """Count the jobs of a type for which something holds, one by one."""
    found: dict[tuple[str, str | None], list[datetime]] = defaultdict(list)
    for job in world.session.scalars(select(Job).where(Job.job_type_id == job_type.id)):
        if counts(job):
            category = job.error.category if job.status == "FAILED" and job.error else None
            found[job.status, category].append(job.last_status_change)
    rows = [JobCount(status, len(times), max(times), category) for (status, category), times in found.items()]
    return sorted(rows, key=lambda row: (row.status, row.category or "~"))


def test_the_counts_of_a_type_are_those_of_its_jobs(
    world: World, types: list[JobType], now: datetime
) -> None:
    for job_type in types:
        found = job_counts(world.session, job_type.id, HOURS)
        for hours in HOURS:
            since = now - timedelta(hours=hours)
            expected = counted(world, job_type, lambda job, since=since: job.last_status_change >= since)
            assert [(row.status, row.count, row.category) for row in found[hours]] == [
                (row.status, row.count, row.category) for row in expected
            ]
    assert found == {hours: [] for hours in HOURS}


def test_the_status_counts_what_runs_and_what_came_into_its_status_in_the_range(
    world: World, types: list[JobType], now: datetime
) -> None:
    assert not {job.status for job in world.session.scalars(select(Job))} ^ set(JOB_STATUSES)
    for started, ended in (
        (None, None),
        (now - timedelta(hours=30), None),
        (now - timedelta(hours=30), now - timedelta(hours=10)),
        (now + timedelta(hours=1), None),
    ):
        first = started or now - timedelta(hours=3)
        last = ended or now + timedelta(days=1)

        def counts(job: Job, first: datetime = first, last: datetime = last) -> bool:
            return job.status == "RUNNING" or first <= job.last_status_change <= last

        found = list_status(world.session, Window(started=started, ended=ended))
        rows = {row.job_type.name: list(row.job_counts) for row in found.items}
        for job_type in types:
            assert rows[job_type.name] == counted(world, job_type, counts)
    assert [row.status for row in rows["one"]] == ["RUNNING"]
