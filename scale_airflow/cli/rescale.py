# SPDX-License-Identifier: Apache-2.0
"""``airflow rescale jobs``, ``status``, ``stop`` and ``clusters``: what runs, and ending it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from scale_airflow.cli.rescale_access import Access, access
from scale_airflow.cli.rescale_output import confirm, moment, plain, present, size, waiting
from scale_airflow.cli.session import action, show

if TYPE_CHECKING:
    from scale_airflow.cli.rescale_watch import Standing
    from scale_airflow.rescale.models import JobSummary, Run
    from scale_airflow.rescale.verdict import StatusEntry

_BEGINNING = datetime.min.replace(tzinfo=timezone.utc)


@action
def jobs_command(args: Any) -> None:
    """List jobs, newest first."""
    from scale_airflow.rescale.endpoints import list_jobs

    part = (args.name or "").casefold()
    with access(args) as rescale:
        found = list_jobs(
            state=args.state,
            job_status=args.status,
            ordering="-dateInserted",
            page_size=1000 if part else min(args.limit, 1000),
        )
        matching = (job for job in rescale.client.pages(found) if part in job.name.casefold())
        rows = [_job_row(job) for job in islice(matching, args.limit)]
    present(rows, args.output, shown={"created": moment}, nothing="There are no such jobs.")


def _job_row(job: JobSummary) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "cluster": job.cluster_status,
        "created": job.inserted,
        "owner": job.owner,
    }


@action
def status_command(args: Any) -> None:
    """Tell how a job stands; exit code 1 if it failed."""
    from scale_airflow.cli.rescale_watch import look, wait
    from scale_airflow.rescale.endpoints import list_runs

    with access(args) as rescale:
        if args.wait:
            with waiting(f"Job {args.job_id}") as tell:
                standing = wait(
                    rescale.client,
                    args.job_id,
                    interval=args.interval,
                    on_look=lambda standing: tell(standing.news),
                )
        else:
            standing = look(rescale.client, args.job_id)
        runs = rescale.client.all(list_runs(args.job_id)) if standing.statuses else []
        address = rescale.job_address(args.job_id)
    if args.output == "table":
        _show_standing(args.job_id, address, standing, runs)
    else:
        show([_document(args.job_id, address, standing, runs)], args.output)
    if standing.outcome == "failed":
        raise SystemExit(1)


def _show_standing(job_id: str, address: str, standing: Standing, runs: list[Run]) -> None:
    print(f"Job {job_id}: {standing.news}\n{address}")
    if standing.statuses:
        present(_history(standing), "table", shown={"since": moment})
    if len(runs) > 1:
        present([_run_row(run) for run in runs], "table", shown=_RUN_SHOWN, right=("files", "size"))


_RUN_SHOWN: dict[str, Callable[[Any], str]] = {
    "started": moment,
    "completed": moment,
    "size": size,
    "variables": str,
}


def _history(standing: Standing) -> list[dict[str, Any]]:
    """Return the histories of the job and its cluster as one, oldest first."""
    rows: list[tuple[str, StatusEntry]] = [("job", each) for each in reversed(standing.statuses)]
    rows += [("cluster", each) for each in reversed(standing.clusters)]
    rows.sort(key=lambda row: row[1].date or _BEGINNING)
    return [
        {"since": each.date, "of": of, "status": each.status, "reason": each.reason or ""}
        for of, each in rows
    ]


def _run_row(run: Run) -> dict[str, Any]:
    variables = ", ".join(f"{each.name} = {each.display_value or each.value}" for each in run.variables)
    return {
        "run": run.id,
        "started": run.started,
        "completed": run.completed,
        "files": run.output_file_count,
        "size": run.output_file_size,
        "variables": variables,
    }


def _document(job_id: str, address: str, standing: Standing, runs: list[Run]) -> dict[str, Any]:
    return {
        "id": job_id,
        "address": address,
        "outcome": standing.outcome,
        "reason": standing.news,
        "history": [{name: plain(value) for name, value in row.items()} for row in _history(standing)],
        "runs": [{name: plain(value) for name, value in _run_row(run).items()} for run in runs],
    }


@action
def stop_command(args: Any) -> None:
    """Stop a job."""
    with access(args) as rescale:
        told = _stop(rescale, args.job_id, force=args.force)
    print(f"Job {args.job_id} {told}")


def _stop(rescale: Access, job_id: str, *, force: bool = False) -> str:
    """Stop a job, and say what became of it; a refusal counts for nothing where it has ended anyway."""
    from scale_airflow.cli.rescale_watch import look
    from scale_airflow.errors import RescaleRefused
    from scale_airflow.rescale.endpoints import force_stop_job, stop_job

    before = look(rescale.client, job_id)
    if before.is_final:
        return f"does not run: it {'is ' if before.outcome == 'draft' else ''}{before.news}"
    try:
        rescale.client.send(force_stop_job(job_id) if force else stop_job(job_id))
    except RescaleRefused:
        after = look(rescale.client, job_id)
        if not after.is_final:
            raise
        return f"has ended meanwhile: {after.news}"
    return "is being stopped; `airflow rescale status --wait` tells when it has ended."


@action
def clusters_command(args: Any) -> None:
    """List clusters that Airflow keeps; stop them with ``--stop``."""
    with access(args) as rescale:
        left = list(_kept_clusters(rescale))
        if args.output != "table" or not args.stop:
            rows = [_job_row(job) for job in left]
            present(rows, args.output, shown={"created": moment}, nothing="No cluster is left.")
        if not args.stop or not left:
            return
        if not args.yes:
            present([_job_row(job) for job in left], "table", shown={"created": moment})
            if not confirm(f"Stop {'it' if len(left) == 1 else f'all {len(left)}'}?"):
                raise SystemExit(1)
        for job in left:
            print(f"Cluster {job.id} {_stop(rescale, job.id)}")


def _kept_clusters(rescale: Access) -> Iterator[JobSummary]:
    """Give the jobs that wait for tasks' commands and may still cost money."""
    from scale_airflow.cli.rescale_watch import look
    from scale_airflow.rescale.clusters import is_cluster
    from scale_airflow.rescale.endpoints import list_jobs

    for job in rescale.client.pages(list_jobs(state="not_completed", ordering="-dateInserted")):
        if is_cluster(job.name) and look(rescale.client, job.id).outcome == "waiting":
            yield job
