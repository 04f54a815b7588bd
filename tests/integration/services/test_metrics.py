# SPDX-License-Identifier: Apache-2.0
"""Metrics against an independent calculation: plain Python over the rows that the database has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from scale_airflow.definitions.metrics import INGESTS, JOB_TYPES, METRICS_TYPES
from scale_airflow.services.listing import Window
from scale_airflow.services.metrics import SOURCES, compute_day, missing_days
from scale_airflow.services.plot_data import PlotFilter, plot_data
from scale_airflow.store.models import (
    Ingest,
    Job,
    JobExecution,
    JobType,
    JobTypeRevision,
    Strike,
    TriggerEvent,
    ingest_metrics,
    job_type_metrics,
)

DAY = date(2024, 2, 29)
MIDNIGHT = datetime.combine(DAY, time(), timezone.utc)
MICROSECOND = timedelta(microseconds=1)


def seconds(later: datetime | None, earlier: datetime | None) -> float | None:
    return None if later is None or earlier is None else (later - earlier).total_seconds()


def is_of_day(moment: datetime | None, day: date) -> bool:
    return moment is not None and moment.astimezone(timezone.utc).date() == day


def columns_of(
    counts: dict[str, int], measured: Mapping[str, Iterable[float | None]], done: str
) -> dict[str, Any]:
    """All columns of one choice or of all together: what is null there is None here."""
    found: dict[str, Any] = {**counts, "total_count": sum(counts.values())}
    for name, given_values in measured.items():
        values = [value for value in given_values if value is not None]
        found[f"{name}_sum"] = sum(values)
        found[f"{name}_min"] = min(values, default=None)
        found[f"{name}_max"] = max(values, default=None)
        found[f"{name}_avg"] = sum(values) / counts[done] if values else None
    return found


def job_columns(rows: Sequence[Any], day: date) -> dict[str, Any]:
    ended = [row for row in rows if is_of_day(row.ended, day)]
    counts = {
        f"{status.lower()}_count": sum(row.status == status for row in ended)
        for status in ("COMPLETED", "FAILED", "CANCELED")
    }
    measured: dict[str, list[float | None]] = {group: [] for group in JOB_TYPES.measured}
    for row in ended:
        if row.status == "COMPLETED" and row.exe_status == "COMPLETED":
            run = seconds(row.exe_ended, row.exe_started)
            tasks = {
                "pre_time": seconds(row.pre_completed, row.pre_started),
                "job_time": seconds(row.job_completed, row.job_started),
                "post_time": seconds(row.post_completed, row.post_started),
            }
            stage = None if run is None else max(0.0, run - sum(each or 0.0 for each in tasks.values()))
            queue = seconds(row.exe_started, row.exe_queued)
            for name, value in {**tasks, "queue_time": queue, "run_time": run, "stage_time": stage}.items():
                measured[name].append(value)
    return columns_of(counts, measured, "completed_count")


def ingest_columns(rows: Sequence[Any], day: date) -> dict[str, Any]:
    ended = [row for row in rows if is_of_day(row.ingest_ended, day)]
    counts = {
        f"{status.lower()}_count": sum(row.status == status for row in ended)
        for status in ("DEFERRED", "INGESTED", "ERRORED", "DUPLICATE")
    }
    done = [row for row in ended if row.status == "INGESTED"]
    measured = {
        "file_size": [row.file_size for row in done],
        "transfer_time": [seconds(row.transfer_ended, row.transfer_started) for row in done],
        "ingest_time": [seconds(row.ingest_ended, row.ingest_started) for row in done],
    }
    return columns_of(counts, measured, "ingested_count")


def expected(session: Session, day: date) -> dict[str, dict[int | None, dict[str, Any]]]:
    """The metrics of a day by type and choice (None: all together), calculated apart from the services."""
    jobs = session.execute(
        text(
            "SELECT j.job_type_id AS choice, j.status, j.ended, x.status AS exe_status, "
            "x.queued AS exe_queued, x.started AS exe_started, x.ended AS exe_ended, x.pre_started, "
            "x.pre_completed, x.job_started, x.job_completed, x.post_started, x.post_completed "
            "FROM scale_job j LEFT JOIN scale_job_execution x ON x.job_id = j.id AND x.exe_num = j.num_exes"
        )
    ).all()
    ingests = session.execute(
        text(
            "SELECT strike_id AS choice, status, file_size, transfer_started, transfer_ended, "
            "ingest_started, ingest_ended FROM scale_ingest"
        )
    ).all()
    found: dict[str, dict[int | None, dict[str, Any]]] = {}
    for kind, rows, columns in ((JOB_TYPES, jobs, job_columns), (INGESTS, ingests, ingest_columns)):
        by_choice = {None: columns(rows, day)}
        for choice in {row.choice for row in rows}:
            of_choice = columns([row for row in rows if row.choice == choice], day)
            if of_choice["total_count"]:
                by_choice[choice] = of_choice
        found[kind.name] = by_choice
    return found


def stored(session: Session, day: date) -> dict[str, dict[int | None, dict[str, Any]]]:
    """The metrics that are kept of a day, times in seconds."""
    found: dict[str, dict[int | None, dict[str, Any]]] = {}
    for kind in METRICS_TYPES:
        source = SOURCES[kind.name]
        rows = session.execute(select(source.table).where(source.table.c.day == day)).mappings().all()
        found[kind.name] = {
            row[source.choice]: {
                column.name: (
                    row[column.name] / 1e6
                    if column.units == "seconds" and row[column.name] is not None
                    else row[column.name]
                )
                for column in kind.columns
            }
            for row in rows
        }
        assert len(found[kind.name]) == len(rows)
    return found


def assert_same(found: Any, wanted: Any) -> None:
    assert found.keys() == wanted.keys()
    for name, by_choice in wanted.items():
        assert found[name].keys() == by_choice.keys()
        for choice, columns in by_choice.items():
            assert len(columns) == (28 if name == "job-types" else 17)
            assert found[name][choice] == {
                column: None
                if value is None
                else pytest.approx(value, rel=1e-9, abs=1.0001e-6)
                # An average of bytes is kept as a whole number of them.
                if not column.endswith("size_avg")
                else pytest.approx(value, abs=0.5)
                for column, value in columns.items()
            }, (name, choice)


def around_the_day(milliseconds: int) -> datetime:
    """A moment within the day, or some hours before or after it; now and then one of its midnights."""
    if milliseconds % 10 == 0:
        return (MIDNIGHT, MIDNIGHT - MICROSECOND, MIDNIGHT + timedelta(days=1))[milliseconds // 10 % 3]
    return MIDNIGHT + timedelta(milliseconds=milliseconds)


def sometimes_unknown(number: int) -> timedelta | None:
    return None if number % 10 == 0 else timedelta(microseconds=number)


MOMENTS = st.integers(-20_000_000, 106_000_000).map(around_the_day)
# Clocks of workers may go backwards.
LATER = st.integers(-(10**9), 10**10).map(sometimes_unknown)
JOB_STATUSES = ["COMPLETED"] * 5 + ["FAILED", "CANCELED", "RUNNING", "QUEUED"]


@st.composite
def steps(draw: st.DrawFn, count: int) -> list[datetime | None]:
    """Moments of one execution or ingest, more or less in their order, any of them unknown."""
    moment, found = draw(MOMENTS), []
    for _ in range(count):
        further = draw(LATER)
        found.append(None if further is None else moment)
        moment += further or timedelta()
    return found


JOBS = st.fixed_dictionaries(
    {
        "job_type": st.integers(0, 2),
        "status": st.sampled_from(JOB_STATUSES),
        "ended": MOMENTS,
        "tries": st.sampled_from([1, 1, 2, 3, 0]),
        "steps": steps(9),
    }
)
INGEST_ROWS = st.fixed_dictionaries(
    {
        "strike": st.integers(0, 1),
        "status": st.sampled_from(["INGESTED"] * 4 + ["DUPLICATE", "ERRORED", "DEFERRED", "INGESTING"]),
        "file_size": st.integers(0, 2**50).map(lambda size: size if size % 10 else None),
        "steps": steps(4),
    }
)


@pytest.fixture
def types(session: Session) -> dict[str, list[int]]:
    """Three job types with a revision each, two Strike processes, and an event."""
    document: dict[str, Any] = {}
    made = [JobType(name=name, version="1", interface=document, error_mapping=document) for name in "abc"]
    strikes = [Strike(name=name, configuration=document, dag_id=name) for name in "de"]
    event = TriggerEvent(type="USER", description=document)
    session.add_all([*made, *strikes, event])
    session.flush()
    revisions = [JobTypeRevision(job_type_id=each.id, revision_num=1, interface=document) for each in made]
    session.add_all(revisions)
    session.flush()
    ids = {
        "job_types": [each.id for each in made],
        "revisions": [each.id for each in revisions],
        "strikes": [each.id for each in strikes],
        "event": [event.id],
    }
    session.commit()
    return ids


def fill(session: Session, types: dict[str, list[int]], jobs: list[Any], ingests: list[Any]) -> None:
    """Put these jobs and ingests in place of all that were there."""
    for table in (job_type_metrics, ingest_metrics, Ingest, JobExecution, Job):
        session.execute(delete(table))
    for number, given_job in enumerate(jobs, start=1):
        job_id = session.execute(
            insert(Job)
            .values(
                job_type_id=types["job_types"][given_job["job_type"]],
                job_type_rev_id=types["revisions"][given_job["job_type"]],
                event_id=types["event"][0],
                status=given_job["status"],
                ended=given_job["ended"],
                num_exes=given_job["tries"],
                **{"priority": 1, "timeout": 0, "max_tries": 3, "cpus_required": 1, "mem_required": 1},
                **{"dag_id": "dag", "run_id": str(number), "task_id": "job"},
            )
            .returning(Job.id)
        ).scalar_one()
        names = ("queued", "started", "pre_started", "pre_completed", "job_started", "job_completed")
        moments = dict(
            zip((*names, "post_started", "post_completed", "ended"), given_job["steps"], strict=True)
        )
        for exe_num in range(1, given_job["tries"] + 1):
            is_last = exe_num == given_job["tries"]
            status = given_job["status"] if is_last else "FAILED"
            queued = moments["queued"] or MIDNIGHT
            session.execute(
                insert(JobExecution).values(
                    job_id=job_id,
                    exe_num=exe_num,
                    timeout=0,
                    status=status,
                    warnings=[],
                    **{**moments, "queued": queued},
                )
            )
    for number, given_ingest in enumerate(ingests):
        names = ("transfer_started", "transfer_ended", "ingest_started", "ingest_ended")
        session.execute(
            insert(Ingest).values(
                file_name=f"{number}",
                strike_id=types["strikes"][given_ingest["strike"]],
                status=given_ingest["status"],
                transfer_path=f"{number}",
                file_size=given_ingest["file_size"],
                data_type=[],
                **dict(zip(names, given_ingest["steps"], strict=True)),
            )
        )
    session.flush()


def shown(session: Session, kind: Any, wanted: PlotFilter) -> dict[tuple[str, int | None], int]:
    """What the plot data of the day are, by column and choice."""
    window = Window(started=MIDNIGHT, ended=MIDNIGHT + timedelta(hours=1))
    found = plot_data(session, kind, wanted, window)
    assert found.count == len(kind.columns)
    return {
        (each.column.name, value.choice_id): value.value
        for each in found.items
        for value in each.values
        if value.day == DAY
    }


def rounded(kind: Any, name: str, value: float) -> Any:
    column = next(each for each in kind.columns if each.name == name)
    return pytest.approx(value, abs=0.500002) if column.units == "seconds" or "avg" in name else value


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(jobs=st.lists(JOBS, max_size=12), ingests=st.lists(INGEST_ROWS, max_size=8))
def test_all_columns_equal_an_independent_calculation(
    session: Session, types: dict[str, list[int]], jobs: list[Any], ingests: list[Any]
) -> None:
    fill(session, types, jobs, ingests)
    for day in (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)):
        compute_day(session, day)
        assert_same(stored(session, day), expected(session, day))
    once = stored(session, DAY)
    compute_day(session, DAY)
    assert stored(session, DAY) == once  # to the microsecond
    wanted = expected(session, DAY)
    for kind, choices in ((JOB_TYPES, types["job_types"]), (INGESTS, types["strikes"])):
        by_choice = wanted[kind.name]
        assert shown(session, kind, PlotFilter()) == {
            (name, None): rounded(kind, name, value)
            for name, value in by_choice[None].items()
            if value is not None
        }
        zeros = columns_of_nothing(kind.name)
        assert shown(session, kind, PlotFilter(choice_ids=choices)) == {
            (name, choice): rounded(kind, name, value)
            for choice in choices
            for name, value in by_choice.get(choice, zeros).items()
            if value is not None
        }
    session.rollback()


def columns_of_nothing(name: str) -> dict[str, Any]:
    return job_columns([], DAY) if name == "job-types" else ingest_columns([], DAY)


class TestMissingDays:
    """`missing_days`: from the first day on which anything ended, up to yesterday."""

    def test_nothing_ever_ended(self, session: Session, types: dict[str, list[int]]) -> None:
        assert missing_days(session, DAY) == []

    def test_gaps(self, session: Session, types: dict[str, list[int]]) -> None:
        steps_of = [None] * 9
        first = {"job_type": 0, "status": "FAILED", "ended": MIDNIGHT, "tries": 0, "steps": steps_of}
        fill(session, types, [first], [])
        days = [DAY + timedelta(days=number) for number in range(4)]
        assert missing_days(session, DAY) == []
        assert missing_days(session, days[3]) == days[:3]
        compute_day(session, days[1])
        assert missing_days(session, days[3]) == [days[0], days[2]]

    def test_ingests_count_too(self, session: Session, types: dict[str, list[int]]) -> None:
        one = {"strike": 0, "status": "INGESTED", "file_size": 1, "steps": [MIDNIGHT] * 4}
        fill(session, types, [], [one])
        assert missing_days(session, DAY + timedelta(days=1)) == [DAY]
