# SPDX-License-Identifier: Apache-2.0
"""What must hold besides after a long run: what the clock started, metrics, tokens, storage that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from tests.crash import documents
from tests.crash.errands import PAST_DAYS
from tests.crash.invariants import World, invariant

_LATE = timedelta(seconds=10)


@invariant("Each moment of a clock rule is one event, which started one job", is_long=True)
def _clock(world: World) -> Iterator[str | int]:
    events = world.rows(
        "SELECT event.id, event.type, event.description->>'scheduled' AS moment, rule.name AS rule, "
        "count(job.id) AS jobs FROM scale_trigger_event event "
        "JOIN scale_trigger_rule rule ON rule.id = event.rule_id "
        "LEFT JOIN scale_job job ON job.event_id = event.id "
        "WHERE rule.type = 'CLOCK' GROUP BY 1, 2, 3, 4"
    )
    times = Counter((event["rule"], event["moment"]) for event in events if event["moment"])
    for (rule, moment), count in times.items():
        yield 1
        if count != 1:
            yield f"The clock rule {rule} has {count} events for {moment}"
    for event in events:
        if event["rule"] == "crash-clock" and event["jobs"] != 1:
            yield f"The event {event['id']} of the clock at {event['moment']} started {event['jobs']} jobs"


@invariant("Each run of a clock rule's DAG has fired, and none is unfinished", is_long=True)
def _clock_runs(world: World) -> Iterator[str | int]:
    fired = {
        row["moment"]
        for row in world.rows(
            "SELECT event.description->>'scheduled' AS moment FROM scale_trigger_event event "
            "JOIN scale_trigger_rule rule ON rule.id = event.rule_id WHERE rule.name = 'crash-clock'"
        )
    }
    stopped = world.asked.clock_stopped
    for run in world.rows(
        "SELECT run_id, state, end_date, to_char(data_interval_end AT TIME ZONE 'UTC', "
        '\'YYYY-MM-DD"T"HH24:MI:SS"Z"\') AS moment, dag_id FROM dag_run '
        "WHERE dag_id LIKE 'scale\\_clock.%'"
    ):
        yield 1
        is_own = run["dag_id"].startswith("scale_clock.crash-clock.")
        if run["state"] not in ("success",) and (is_own or run["state"] in ("queued", "running")):
            yield f"The run {run['run_id']} of {run['dag_id']} is {run['state']}"
            continue
        in_time = stopped is None or run["end_date"] < stopped - _LATE
        if is_own and in_time and run["moment"] not in fired:
            yield f"The run {run['run_id']} of {run['dag_id']} has ended, and the rule has not fired"


@invariant("The metrics of each past day are there, once, and count what ended on it", is_long=True)
def _metrics(world: World) -> Iterator[str | int]:
    for row in world.rows(
        "SELECT past.day::date AS day, "
        "(SELECT count(*) FROM scale_job_type_metrics kept "
        " WHERE kept.day = past.day::date AND kept.job_type_id IS NULL) AS overall, "
        "(SELECT max(kept.total_count) FROM scale_job_type_metrics kept "
        " WHERE kept.day = past.day::date AND kept.job_type_id IS NULL) AS counted, "
        "(SELECT count(*) FROM scale_job job WHERE job.status IN ('COMPLETED', 'FAILED', 'CANCELED') "
        " AND (job.ended AT TIME ZONE 'UTC')::date = past.day::date) AS ended "
        f"FROM generate_series((now() AT TIME ZONE 'UTC')::date - {PAST_DAYS}, "
        "(now() AT TIME ZONE 'UTC')::date - 1, interval '1 day') past (day)"
    ):
        yield 1
        if row["overall"] != 1 or row["counted"] != row["ended"]:
            yield (
                f"{row['day']}: {row['overall']} overall rows of metrics, "
                f"which count {row['counted']} jobs of {row['ended']}"
            )


@invariant("No job of daily metrics waits, and each has as many executions as it says", is_long=True)
def _metrics_jobs(world: World) -> Iterator[str | int]:
    for row in world.rows(
        "SELECT job.id, job.input_signature AS day, job.status, job.num_exes, count(exe.id) AS executions, "
        "count(exe.id) FILTER (WHERE exe.status = 'COMPLETED') AS completed FROM scale_job job "
        "JOIN scale_job_type type ON type.id = job.job_type_id "
        "LEFT JOIN scale_job_execution exe ON exe.job_id = job.id "
        "WHERE type.name = 'scale-daily-metrics' GROUP BY 1, 2, 3, 4"
    ):
        yield 1
        if row["status"] != "COMPLETED" or row["completed"] != 1:
            completed = f"completed {row['completed']} times"
            yield f"The job {row['id']} of {row['day']} is {row['status']}, {completed}"
        if row["num_exes"] != row["executions"]:
            yield f"The job {row['id']} says {row['num_exes']} executions and has {row['executions']}"


@invariant("Each token that was asked for is there, and revoked if that was asked for", is_long=True)
def _tokens(world: World) -> Iterator[str | int]:
    rows = world.rows("SELECT name, revoked FROM scale_api_token")
    there = Counter(row["name"] for row in rows)
    revoked = {row["name"] for row in rows if row["revoked"] is not None}
    for name, is_revoked in world.asked.tokens.items():
        yield 1
        # Who was killed after the commit made one whose secret nobody saw, and asked for another.
        if not there[name] or (is_revoked and name not in revoked):
            yield f"The token {name} is there {there[name]} times, revoked: {name in revoked}"


@invariant("Nothing lies in the workspace in which nothing could be stored", is_long=True)
def _broken(world: World) -> Iterator[str | int]:
    folder = world.system.workspace(documents.BROKEN)
    yield sum(job["type"] == "crash-halfway" for job in world.jobs)
    yield from (f"{path} was left" for path in folder.rglob("*") if path.is_file())
