# SPDX-License-Identifier: Apache-2.0
"""Runs of jobs: their files once they have ended, their live directory and log while they run."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from scale_airflow.errors import InvalidRequest
from scale_airflow.rescale.calls import Call, Repeat, Scope, path_of, quote_part
from scale_airflow.rescale.file_models import DirectoryEntry, RemoteFile
from scale_airflow.rescale.models import Run, Snapshot, TailLines
from scale_airflow.rescale.paging import PagedCall


def list_runs(job_id: str) -> PagedCall[Run]:
    """List a job's runs. Rescale API: list runs for a job."""
    return PagedCall(
        path_of("jobs", job_id, "runs"), Run.from_document, scope=Scope.JOBS_USAGE, job_id=job_id
    )


def get_run(job_id: str, run_id: str) -> Call[Run]:
    """Return one run. Rescale API: get a run."""
    return _run("GET", job_id, run_id, parse=Run.from_document)


def stop_run(job_id: str, run_id: str) -> Call[Any]:
    """Stop one run of a job; its files are saved."""
    return _run("POST", job_id, run_id, "stop")


def snapshot_run(job_id: str, run_id: str) -> Call[Snapshot]:
    """Have the directory of a running run saved as an archive, an output file of type 12."""
    return _run("POST", job_id, run_id, "snapshot", parse=Snapshot.from_document, repeat=Repeat.NEVER)


def list_run_files(job_id: str, run_id: str) -> PagedCall[RemoteFile]:
    """List the output files of one finished run."""
    return PagedCall(
        path_of("jobs", job_id, "runs", run_id, "files"),
        RemoteFile.from_document,
        scope=Scope.JOBS_USAGE,
        job_id=job_id,
    )


def list_directory(job_id: str, run_id: str, *, page_size: int = 9999) -> PagedCall[DirectoryEntry]:
    """List the files in the directory of a running run.

    :param page_size: how many at most; the list comes in one piece.
    """
    return PagedCall(
        path_of("jobs", job_id, "runs", run_id, "directory-contents"),
        DirectoryEntry.from_document,
        scope=Scope.JOBS_USAGE,
        job_id=job_id,
        page_size=page_size,
    )


def tail(job_id: str, run_id: str, path: str, *, lines: int) -> Call[TailLines]:
    """Return the last lines of a text file of a running run, such as ``process_output.log``.

    :param path: relative to the run's directory.
    """
    return Call(
        "GET",
        _tail_path(job_id, run_id, path),
        TailLines.from_document,
        query={"lines": lines},
        scope=Scope.JOBS_USAGE,
        job_id=job_id,
    )


def tail_bytes(job_id: str, run_id: str, path: str) -> Call[bytes]:
    """Return a small file of a running run as it is now.

    :param path: relative to the run's directory.
    """
    return Call(
        "GET",
        _tail_path(job_id, run_id, path),
        bytes,
        scope=Scope.JOBS_USAGE,
        job_id=job_id,
        reads="bytes",
        leaves_origin=True,
    )


def _tail_path(job_id: str, run_id: str, path: str) -> str:
    if path.startswith("/"):
        raise InvalidRequest(f"{path!r} must be relative to the run's directory.")
    parts = [quote_part(part, "path") for part in PurePosixPath(path).parts]
    if not parts:
        raise InvalidRequest("The path of the file to show is empty.")
    # Without a slash at the end, which would be part of the file's path.
    return path_of("jobs", job_id, "runs", run_id, "tail") + "/".join(parts)


def _as_it_is(document: Any) -> Any:
    return document


def _run(
    method: str, job_id: str, run_id: str, *parts: str, parse: Any = _as_it_is, **values: Any
) -> Call[Any]:
    path = path_of("jobs", job_id, "runs", run_id, *parts)
    return Call(method, path, parse, scope=Scope.JOBS_USAGE, job_id=job_id, **values)
