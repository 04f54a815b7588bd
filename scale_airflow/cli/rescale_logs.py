# SPDX-License-Identifier: Apache-2.0
"""``airflow rescale logs``: a job's log, live while it runs, stored afterwards."""

from __future__ import annotations

import re
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TextIO

from scale_airflow.cli.rescale_access import access
from scale_airflow.cli.rescale_output import clean, waiting
from scale_airflow.cli.session import action
from scale_airflow.errors import NotFound, RescaleNotFound, RescaleRefused

if TYPE_CHECKING:
    from scale_airflow.cli.rescale_watch import Standing
    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.file_models import RemoteFile

DEFAULT_PATH = "process_output.log"
# Rescale tells the type of a file in the words of the command file: "/home/job_x/work/a: ASCII text".
_TEXT = re.compile(r"\b(text|empty)\b")


@action
def logs_command(args: Any) -> None:
    """Show a log once, or as it grows; then exit code 1 if the job failed."""
    with access(args) as rescale:
        if args.follow:
            standing = follow(
                rescale.client,
                args.job_id,
                run_id=args.run,
                path=args.path,
                first=args.lines,
                interval=args.interval,
            )
            print(f"Job {args.job_id}: {standing.news}", file=sys.stderr)
            if standing.outcome != "succeeded":
                raise SystemExit(1)
            return
        for line in read_lines(rescale.client, args.job_id, args.run, args.path, args.lines):
            print(clean(line))


def follow(
    client: RescaleClient,
    job_id: str,
    *,
    run_id: str = "1",
    path: str,
    first: int | None,
    interval: float,
    stream: TextIO | None = None,
    late: float = 0.0,
) -> Standing:
    """Print a file of a job as it grows until the job ends, and return how it ended.

    :param first: how many lines of what there is already to begin with; None for all that can be had.
    :param interval: seconds between two looks.
    :param stream: where to; standard output by default.
    :param late: see :func:`~scale_airflow.cli.rescale_watch.wait`.
    """
    from scale_airflow.cli.rescale_watch import wait
    from scale_airflow.rescale.following import WIDEST_WINDOW, LineFollower

    follower = LineFollower()
    begun = False

    with waiting(f"Job {job_id}") as tell:

        def show(standing: Standing) -> None:
            nonlocal begun
            if not standing.is_executing:
                if not standing.is_final:
                    tell(standing.news)
                return
            window = follower.window if begun else first or WIDEST_WINDOW
            lines = _live_lines(client, job_id, run_id, path, window)
            if lines is not None:
                begun = True
                _print(follower.look(lines), stream)

        standing = wait(client, job_id, interval=interval, on_look=show, late=late)
    file = None if standing.outcome == "draft" else _stored(client, job_id, run_id, path)
    if file is None and not begun and standing.outcome != "draft":
        print(_missing(client, job_id, run_id, path), file=sys.stderr)
    stored = [] if file is None else _stored_lines(client, file)
    window = follower.window if begun else first or len(stored)
    _print(follower.end(stored[-window:]) if stored else follower.end(), stream)
    return standing


def _print(lines: list[str], stream: TextIO | None) -> None:
    for line in lines:
        print(clean(line), flush=True, file=stream)


def read_lines(client: RescaleClient, job_id: str, run_id: str, path: str, count: int | None) -> list[str]:
    """Return the last lines of a file of a job, live or stored; all of them for None.

    :raises NotFound: if there is no such file; names those that there are.
    """
    from scale_airflow.rescale.endpoints import tail_bytes

    live: list[str] | None
    if count is not None:
        live = _live_lines(client, job_id, run_id, path, count)
    else:
        try:
            live = client.send(tail_bytes(job_id, run_id, path)).decode("utf-8", "replace").splitlines()
        except (RescaleNotFound, RescaleRefused):
            live = None
    if live is not None:
        return live
    file = _stored(client, job_id, run_id, path)
    if file is None:
        raise NotFound(_missing(client, job_id, run_id, path))
    lines = _stored_lines(client, file)
    return lines if count is None else lines[-count:]


def _live_lines(client: RescaleClient, job_id: str, run_id: str, path: str, count: int) -> list[str] | None:
    """Return the last lines of a file of a running run; None if there is none, or not now."""
    from scale_airflow.rescale.endpoints import tail

    try:
        found = client.send(tail(job_id, run_id, path, lines=count))
    except (RescaleNotFound, RescaleRefused):
        # It has not begun to write, or has just ended.
        return None
    if found.file_type and not found.lines and not _TEXT.search(found.file_type.rpartition(":")[2]):
        raise NotFound(f"{path} is no text; `airflow rescale download` fetches it once the job has ended.")
    return [line.rstrip("\r\n") for line in found.lines]


def _stored(client: RescaleClient, job_id: str, run_id: str, path: str) -> RemoteFile | None:
    """Return the result of that path, or else of that name."""
    from scale_airflow.rescale.endpoints import list_run_files

    try:
        files = client.all(list_run_files(job_id, run_id))
    except RescaleNotFound:
        return None
    named = [file for file in files if file.relative_path.lstrip("/") == path]
    named += [file for file in files if file.name == PurePosixPath(path).name and path == file.name]
    return named[0] if named else None


def _stored_lines(client: RescaleClient, file: RemoteFile) -> list[str]:
    from scale_airflow.rescale.endpoints import get_file_contents

    return client.send(get_file_contents(file.id)).decode("utf-8", "replace").splitlines()


def _missing(client: RescaleClient, job_id: str, run_id: str, path: str) -> str:
    from scale_airflow.cli.rescale_watch import look
    from scale_airflow.rescale.endpoints import list_run_files

    standing = look(client, job_id)
    if not standing.is_final:
        return f"Job {job_id} has no {path} yet: {standing.news}. With --follow it is waited for."
    try:
        names = sorted({file.relative_path for file in client.all(list_run_files(job_id, run_id))})
    except RescaleNotFound:
        return f"Job {job_id} ({standing.news}) has no run {run_id}."
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f"Run {run_id} of job {job_id} ({standing.news}) has no {path}. It has: {shown or 'no files'}."
