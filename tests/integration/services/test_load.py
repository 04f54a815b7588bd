# SPDX-License-Identifier: Apache-2.0
"""The load: counted by type and hour, once an hour, and shown for each hour that was counted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.errors import InvalidRequest
from scale_airflow.services.installation import initialize
from scale_airflow.services.listing import Window
from scale_airflow.services.load import list_load, record_load
from scale_airflow.services.system_clock import JOB_LOAD, own_rule
from scale_airflow.services.system_clock import record_load as record_load_in_time
from scale_airflow.services.work_lists import JobTypeFilter
from scale_airflow.store.models import Job, JobLoad, JobType, JobTypeRevision, Load, TriggerEvent

NOON = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
AROUND = Window(started=NOON - timedelta(days=1), ended=NOON + timedelta(days=1))


@pytest.fixture
def types(session: Session) -> list[int]:
    """Two job types: the first has 1 PENDING, 2 QUEUED, 3 RUNNING jobs and one of each other status."""
    document: dict[str, Any] = {}
    made = [
        JobType(
            name=name,
            version="1",
            category=name * 2,
            priority=number,
            interface=document,
            error_mapping=document,
        )
        for number, name in enumerate("ab")
    ]
    event = TriggerEvent(type="USER", description=document)
    session.add_all([*made, event])
    session.flush()
    revision = JobTypeRevision(job_type_id=made[0].id, revision_num=1, interface=document)
    session.add(revision)
    session.flush()
    statuses = ["PENDING"] + ["QUEUED"] * 2 + ["RUNNING"] * 3
    for number, status in enumerate([*statuses, "BLOCKED", "FAILED", "COMPLETED", "CANCELED"]):
        of_type = {"job_type_id": made[0].id, "job_type_rev_id": revision.id, "event_id": event.id}
        wishes = {"priority": 1, "timeout": 0, "max_tries": 1, "cpus_required": 1.0, "mem_required": 1.0}
        session.add(Job(**of_type, **wishes, status=status, dag_id="d", run_id=str(number), task_id="t"))
    session.flush()
    return [each.id for each in made]


def counts(session: Session, window: Window = AROUND, **wanted: Any) -> list[tuple[int, int, int]]:
    found = list_load(session, window, **wanted)
    return [(each.pending_count, each.queued_count, each.running_count) for each in found.items]


def test_counts(session: Session, types: list[int]) -> None:
    assert record_load(session, NOON) == 6
    assert counts(session) == [(1, 2, 3)]
    assert record_load(session, NOON) == 6  # once is enough
    assert len(session.scalars(select(JobLoad)).all()) == 1


def test_no_jobs(session: Session) -> None:
    assert record_load(session, NOON) == 0
    assert counts(session) == [(0, 0, 0)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (lambda a, b: {"job_types": JobTypeFilter(ids=(a,))}, (1, 2, 3)),
        (lambda a, b: {"job_types": JobTypeFilter(ids=(b, 77))}, (0, 0, 0)),
        (lambda a, b: {"job_types": JobTypeFilter(ids=(a, b))}, (1, 2, 3)),
        (lambda a, b: {"job_types": JobTypeFilter(names=("a",))}, (1, 2, 3)),
        (lambda a, b: {"job_types": JobTypeFilter(categories=("bb",))}, (0, 0, 0)),
        (lambda a, b: {"priorities": (0,)}, (1, 2, 3)),
        (lambda a, b: {"priorities": (1, 2**62)}, (0, 0, 0)),
        (lambda a, b: {"priorities": (0, 1), "job_types": JobTypeFilter(ids=(b,))}, (0, 0, 0)),
    ],
)
def test_filters(session: Session, types: list[int], wanted: Any, expected: tuple[int, int, int]) -> None:
    record_load(session, NOON)
    assert counts(session, **wanted(*types)) == [expected]


def test_range_and_pages(session: Session, types: list[int]) -> None:
    for hours in range(5):
        record_load(session, NOON + timedelta(hours=hours))
    window = Window(2, 2, NOON + timedelta(hours=1), NOON + timedelta(hours=4))
    for wanted in ({}, {"priorities": (0,)}):
        found = list_load(session, window, **wanted)
        assert found.count == 4
        assert [each.measured for each in found.items] == [NOON + timedelta(hours=hours) for hours in (3, 4)]
    assert counts(session, Window()) == []
    month = timedelta(days=31)
    assert counts(session, Window(started=NOON, ended=NOON + month))
    with pytest.raises(InvalidRequest, match="31 days"):
        counts(session, Window(started=NOON, ended=NOON + month + timedelta(microseconds=1)))
    with pytest.raises(InvalidRequest, match="past the end"):
        counts(session, Window(6, 1, NOON, NOON + month))
    with pytest.raises(InvalidRequest, match="must start before"):
        counts(session, Window(ended=NOON))


def test_once_an_hour(session: Session) -> None:
    initialize(session)
    rule = own_rule(session, JOB_LOAD)
    assert rule is not None
    session.add(TriggerEvent(type="JOB_LOAD", rule_id=rule.id, occurred=NOON, description={}))
    session.flush()

    def measured() -> int:
        return len(session.scalars(select(Load)).all())

    minute = timedelta(minutes=1)
    assert record_load_in_time(session, NOON + 59 * minute) == NOON + 60 * minute
    assert measured() == 0
    # However late it is, and whoever asks again.
    for _ in range(2):
        assert record_load_in_time(session, NOON + 77 * minute) == NOON + 120 * minute
        assert measured() == 1
    rule.is_active = False
    assert record_load_in_time(session, NOON + 600 * minute) is None
    assert measured() == 1
