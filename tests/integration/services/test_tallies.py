# SPDX-License-Identifier: Apache-2.0
"""The totals that lists show without counting: always what is in the tables, and nobody waits for them."""

from __future__ import annotations

import io
import random
from datetime import timedelta
from typing import Any

import pytest
from concurrency import Aside
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from statements import statements
from work import queued
from world import World

from scale_airflow.errors import InvalidRequest
from scale_airflow.services import tallies
from scale_airflow.services.file_lists import ProductFilter, SourceFilter, list_products, list_sources
from scale_airflow.services.listing import Window
from scale_airflow.services.queue_status import queue_status
from scale_airflow.services.work_lists import JobFilter, JobTypeFilter, list_jobs
from scale_airflow.store.models import JOB_STATUSES, Job, JobExecution, JobTally, JobType, ScaleFile, utcnow
from scale_airflow.store.session import transaction
from scale_airflow.store.tallies import TALLIES


def differences(session: Session) -> dict[str, set[Any]]:
    """Where a tally says another number than its table has rows."""
    found = {}
    for tally, (table, columns) in TALLIES.items():
        by = ", ".join(columns)
        sums = f"SELECT {by}, sum(amount)::bigint FROM {tally.__tablename__} GROUP BY {by}"
        kept = session.execute(text(f"{sums} HAVING sum(amount) <> 0")).all()
        real = session.execute(text(f"SELECT {by}, count(*) FROM {table} GROUP BY {by}")).all()
        if wrong := {tuple(row) for row in kept} ^ {tuple(row) for row in real}:
            found[table] = wrong
    return found


def multiply(session: Session, job: Job, count: int) -> None:
    """Make copies of a job by one statement, with statuses in turn."""
    columns = [each.name for each in Job.__table__.columns if each.name not in ("id", "status")]
    values = ", ".join(columns)
    session.execute(
        text(
            f"INSERT INTO scale_job ({values}, status) SELECT {values}, (CAST(:statuses AS text[]))"
            f"[1 + n % {len(JOB_STATUSES)}] FROM scale_job, generate_series(1, :count) n WHERE id = :id"
        ),
        {"statuses": list(JOB_STATUSES), "count": count, "id": job.id},
    )


@pytest.fixture
def types(world: World) -> list[JobType]:
    return [world.job_type(name) for name in ("one", "two", "three")]


def test_whatever_changes_a_table_changes_its_tally(world: World, types: list[JobType]) -> None:
    session = world.session
    job = queued(world, types[0])
    multiply(session, job, 40)
    assert differences(session) == {}
    chance = random.Random(4)
    changes = (
        "UPDATE scale_job SET status = '{status}' WHERE id % 5 = {number}",
        "UPDATE scale_job SET job_type_id = {type} WHERE id % 7 = {number}",
        "UPDATE scale_job SET priority = 3",
        "UPDATE scale_job SET status = 'QUEUED' WHERE false",
        "DELETE FROM scale_job WHERE id % 17 = {number} AND num_exes = 0",
        "UPDATE scale_file SET has_been_published = NOT has_been_published, is_parsed = id % 2 = 0",
    )
    for _ in range(40):
        statement = chance.choice(changes).format(
            status=chance.choice(JOB_STATUSES), number=chance.randrange(5), type=chance.choice(types).id
        )
        point = session.begin_nested()
        session.execute(text(statement))
        assert differences(session) == {}
        point.rollback() if chance.random() < 0.3 else point.commit()
        if chance.random() < 0.3:
            tallies.merge(session)
        assert differences(session) == {}
    session.rollback()
    assert differences(session) == {}


def test_copied_and_upserted_rows_are_counted(world: World, types: list[JobType]) -> None:
    session = world.session
    queued(world, types[0])
    cursor = session.connection().connection.cursor()
    buffer = io.StringIO()
    cursor.copy_expert("COPY (SELECT * FROM scale_file) TO STDOUT", buffer)
    rows = [line.split("\t") for line in buffer.getvalue().splitlines()]
    copies = "".join(
        "\t".join([str(900 + n), *row[1:4], f"{n}", f"p{n}", *row[6:]]) + "\n"
        for row in rows
        for n in range(9)
    )
    cursor.copy_expert("COPY scale_file FROM STDIN", io.StringIO(copies))
    assert differences(session) == {}
    cursor.execute(
        "INSERT INTO scale_file SELECT * FROM scale_file WHERE id >= 900 "
        "ON CONFLICT (id) DO UPDATE SET is_parsed = true"
    )
    assert cursor.rowcount == 9
    assert differences(session) == {}
    assert list_sources(session, SourceFilter(is_parsed=True), Window()).count == 9


def test_an_emptied_table_has_an_empty_tally(world: World, types: list[JobType]) -> None:
    queued(world, types[0])
    world.session.execute(text("TRUNCATE scale_job CASCADE"))
    assert differences(world.session) == {}
    world.session.rollback()
    assert differences(world.session) == {}


def test_nobody_waits_for_a_tally(world: World, types: list[JobType]) -> None:
    """Two transactions count the same kind, and a third merges: none waits, and nothing is lost."""
    job = queued(world, types[0])
    with transaction() as first, transaction() as second, transaction() as third:
        multiply(first, job, 7)
        multiply(second, job, 14)
        tallies.merge(third)
        assert differences(third) == {}
        third.commit()
        multiply(first, job, 7)
        second.commit()
        tallies.merge(first)
        assert differences(first) == {}
    assert differences(world.session) == {}
    assert list_jobs(world.session, JobFilter("FAILED"), Window()).count == 4


def test_two_that_merge_at_once_count_nothing_twice(world: World, types: list[JobType]) -> None:
    job = queued(world, types[0])
    for _ in range(3):
        multiply(world.session, job, 7)
    world.session.commit()
    tallies.merge(world.session)

    def merge() -> None:
        with transaction() as session:
            tallies.merge(session)

    with Aside(world.session, merge) as aside:
        assert aside.until_stuck()
        world.session.commit()
        aside.result()
    assert differences(world.session) == {}


def test_merging_leaves_one_row_of_a_kind_and_none_of_nothing(world: World, types: list[JobType]) -> None:
    session = world.session
    for job_type in types:
        queued(world, job_type)
        queued(world, job_type)
    session.execute(
        text("UPDATE scale_job SET status = 'CANCELED' WHERE job_type_id = :id"), {"id": types[0].id}
    )
    tallies.merge(session)
    kept = session.execute(select(JobTally.job_type_id, JobTally.status, JobTally.amount)).all()
    assert sorted(kept) == sorted(
        [(types[0].id, "CANCELED", 2), (types[1].id, "QUEUED", 2), (types[2].id, "QUEUED", 2)]
    )
    before = session.scalars(select(JobTally.id)).all()
    tallies.merge(session)
    assert session.scalars(select(JobTally.id)).all() == before


def test_a_page_of_jobs_tells_the_exact_count(world: World, types: list[JobType]) -> None:
    session = world.session
    for job_type, count in zip(types, (3, 10, 20), strict=True):
        multiply(session, queued(world, job_type), count)
    counts = []
    for wanted in (
        JobFilter(),
        JobFilter("FAILED"),
        JobFilter(job_types=JobTypeFilter(names=("one", "two"))),
        JobFilter("QUEUED", job_types=JobTypeFilter(names=("two",))),
        JobFilter(job_types=JobTypeFilter(names=("nobody",))),
        JobFilter(job_ids=(1, 2, 3)),
        JobFilter(error_names=("timeout",)),
        JobFilter(started=utcnow() + timedelta(days=1)),
    ):
        real = session.scalar(select(func.count()).select_from(wanted.applied(select(Job.id)).subquery()))
        assert list_jobs(session, wanted, Window(page_size=1)).count == real
        counts.append(real)
    assert counts[:5] == [36, 4, 15, 3, 0]


def test_a_page_of_jobs_counts_none_of_them(world: World, types: list[JobType]) -> None:
    queued(world, types[0])
    with statements(world.session) as sent:
        assert list_jobs(world.session, JobFilter("QUEUED"), Window()).count == 1
    assert not [each for each in sent if "count(" in each and "scale_job " in each]
    with pytest.raises(InvalidRequest, match="past the end"):
        list_jobs(world.session, JobFilter("QUEUED"), Window(page=2))
    assert list_jobs(world.session, JobFilter(), Window(ended=utcnow() - timedelta(days=1))).count == 0


def test_pages_of_products_tell_the_exact_count(world: World, types: list[JobType]) -> None:
    session = world.session
    job = queued(world, types[0])
    execution = session.scalars(select(JobExecution).where(JobExecution.job_id == job.id)).one()
    for number in range(12):
        session.add(
            ScaleFile(
                kind="PRODUCT",
                workspace_id=world.workspace().id,
                file_name="a" if number % 4 else "b",
                file_path=f"{number}",
                media_type="",
                file_size=1,
                uuid=f"{number}",
                meta_data={},
                job_id=job.id,
                job_exe_id=execution.id,
                job_type_id=types[number % 2].id,
                is_operational=number % 3 == 0,
                has_been_published=number != 5,
            )
        )
    session.flush()

    def count(*names: str, **more: Any) -> int:
        return list_products(session, ProductFilter(JobTypeFilter(names=names), **more), Window()).count

    assert count() == 11
    assert count("one") == 6
    assert count("two") == 5
    assert count(is_operational=True) == 4
    assert count("two", is_operational=False) == 3
    assert count(file_name="b") == 3
    assert list_sources(session, SourceFilter(), Window()).count == 1
    assert list_sources(session, SourceFilter(is_parsed=True), Window()).count == 0
    assert list_sources(session, SourceFilter(file_name="other"), Window()).count == 0


def test_the_queue_s_status_looks_at_no_single_job(world: World, types: list[JobType]) -> None:
    session = world.session
    for job_type, count in zip(types, (7, 14, 0), strict=True):
        multiply(session, queued(world, job_type, priority=10 + count), count)
    # The one that waits longest is the most urgent of one type, and the least urgent of another.
    for job_type, priority in ((types[0], 500), (types[1], 5)):
        session.execute(
            text(
                "UPDATE scale_job SET priority = :priority, queued = queued - interval '1 day' WHERE id = "
                "(SELECT max(id) FROM scale_job WHERE status = 'QUEUED' AND job_type_id = :id)"
            ),
            {"id": job_type.id, "priority": priority},
        )
    real = session.execute(
        select(func.count(), func.min(Job.queued), func.min(Job.priority), Job.job_type_id)
        .where(Job.status == "QUEUED")
        .group_by(Job.job_type_id)
    ).all()
    names = {each.id: each.name for each in types}
    shown = queue_status(session)
    assert [row.job_type_name for row in shown] == ["two", "three", "one"]
    assert {(row.waiting, row.longest_queued, row.highest_priority, row.job_type_name) for row in shown} == {
        (*numbers, names[number]) for *numbers, number in real
    }
