# SPDX-License-Identifier: Apache-2.0
"""Runs of jobs: their results, and a look into the work directory of those that run."""

from __future__ import annotations

from urllib.parse import quote

from scale_airflow.rescale.emulator.answers import Answer, json_answer
from scale_airflow.rescale.emulator.exchange import Exchange
from scale_airflow.rescale.emulator.paging import PAGE_SIZE, page_of, page_size
from scale_airflow.rescale.emulator.records import RunRecord
from scale_airflow.rescale.emulator.refusals import invalid, not_found, refused
from scale_airflow.rescale.emulator.routes_files import files_answer
from scale_airflow.rescale.emulator.routes_jobs import SCOPE, job_of
from scale_airflow.rescale.emulator.routing import Endpoint
from scale_airflow.rescale.emulator.sending import whole
from scale_airflow.rescale.emulator.views import run_document

MOST_LINES = 100_000


def run_of(exchange: Exchange) -> RunRecord:
    """Return the run that the path names; 404 when there is none."""
    record = exchange.state.run(job_of(exchange).id, exchange.values["run"])
    if record is None:
        raise not_found()
    return record


async def list_runs(exchange: Exchange) -> Answer:
    """Answer row 17: a job's runs."""
    runs = exchange.state.runs(job_of(exchange).id)
    return json_answer(page_of(runs, exchange.url, lambda one: run_document(one, exchange.state)))


async def get_run(exchange: Exchange) -> Answer:
    """Answer row 18: one run."""
    return json_answer(run_document(run_of(exchange), exchange.state))


async def stop_run(exchange: Exchange) -> Answer:
    """Answer row 19: end one run; its results are kept."""
    run = run_of(exchange)
    if not exchange.emulator.work.stop_run(run.job_id, run.id):
        raise refused("The run is not running.")
    return json_answer({})


async def snapshot_run(exchange: Exchange) -> Answer:
    """Answer row 20: keep the work directory as it is now."""
    run = run_of(exchange)
    work = exchange.emulator.work
    if not work.is_running(run.job_id, run.id):
        raise refused("The run is not running.")
    made = await work.snapshot(run.job_id, run.id)
    return json_answer(
        {
            "data": "",
            "exitcode": made.exit_code,
            "lastSnapshotID": made.file_id,
            "reason": made.reason or "Generating snapshot.",
        }
    )


async def list_run_files(exchange: Exchange) -> Answer:
    """Answer row 21: one run's results."""
    run = run_of(exchange)
    return files_answer(exchange, exchange.state.output_files(run.job_id, run.id))


async def list_directory(exchange: Exchange) -> Answer:
    """Answer row 22: a bare list of what is in a running run's directory."""
    run = run_of(exchange)
    paths = await exchange.emulator.work.directory(run.job_id, run.id)
    if paths is None:
        raise not_found()
    asked = page_size(exchange.query) if "page_size" in exchange.query else PAGE_SIZE * 100
    base = f"/api/jobs/{run.job_id}/runs/{run.id}/tail/"
    return json_answer([{"path": one, "resource": base + quote(one)} for one in paths[:asked]])


async def tail(exchange: Exchange) -> Answer:
    """Answer row 23: the last lines of a running run's file, or its bytes as they are now."""
    run, path = run_of(exchange), exchange.values["path"]
    work = exchange.emulator.work
    if "lines" in exchange.query:
        text = exchange.query["lines"]
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MOST_LINES:
            raise invalid({"lines": ["A valid integer is required."]})
        found = await work.tail(run.job_id, run.id, path, int(text))
        if found is None:
            raise not_found()
        kind = "ASCII text" if found[0] == "text" else "data"
        return json_answer({"fileType": f"/home/job_{run.job_id}/work/{path}: {kind}", "lines": found[1]})
    file = work.live_file(run.job_id, run.id, path)
    try:
        if file is None:
            raise not_found()
        return Answer(200, headers={"Content-Type": "application/octet-stream"}, file=whole(file))
    except OSError:
        raise not_found() from None


ENDPOINTS = [
    Endpoint("/jobs/{job}/runs/", SCOPE, {"GET": list_runs}),
    Endpoint("/jobs/{job}/runs/{run}/", SCOPE, {"GET": get_run}),
    Endpoint("/jobs/{job}/runs/{run}/stop/", SCOPE, {"POST": stop_run}),
    Endpoint("/jobs/{job}/runs/{run}/snapshot/", SCOPE, {"POST": snapshot_run}),
    Endpoint("/jobs/{job}/runs/{run}/files/", SCOPE, {"GET": list_run_files}),
    Endpoint("/jobs/{job}/runs/{run}/directory-contents/", SCOPE, {"GET": list_directory}),
    Endpoint("/jobs/{job}/runs/{run}/tail/{path*}", SCOPE, {"GET": tail}),
]
