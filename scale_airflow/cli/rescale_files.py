# SPDX-License-Identifier: Apache-2.0
"""``airflow rescale files``, ``upload`` and ``download``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scale_airflow.cli.rescale_access import Access, access
from scale_airflow.cli.rescale_output import moment, present, progress_bar, size
from scale_airflow.cli.session import action
from scale_airflow.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from scale_airflow.rescale.file_models import RemoteFile


@action
def files_command(args: Any) -> None:
    """List files."""
    from scale_airflow.rescale.endpoints import list_files, list_job_files

    with access(args) as rescale:
        if args.job:
            found = list_job_files(args.job, search=args.search)
        else:
            found = list_files(search=args.search, page_size=min(args.limit, 1000))
        rows = [_row(file) for file in islice(rescale.client.pages(found), args.limit)]
    present(rows, args.output, shown=_SHOWN, right=("size",), nothing="No such files.")


def _row(file: RemoteFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "path": file.relative_path or file.name,
        "size": file.size,
        "uploaded": file.uploaded,
        "sha512": file.sha512,
    }


def _beginning(digest: str | None) -> str:
    return "" if digest is None else f"{digest[:16]}…"


_SHOWN: dict[str, Callable[[Any], str]] = {"size": size, "uploaded": moment, "sha512": _beginning}


@action
def upload_command(args: Any) -> None:
    """Send files and folders, and print their ids."""
    with access(args) as rescale:
        sent = send(rescale, args.paths)
    present([_row(file) for file in sent], args.output, shown=_SHOWN, right=("size",))


def send(rescale: Access, paths: Sequence[Path]) -> list[RemoteFile]:
    """Send what is not at Rescale yet, and return the files in the order of the paths.

    :raises InvalidRequest: naming every path that is not there.
    """
    refuse_missing(paths)
    with rescale.uploader() as uploader, progress_bar("Sent") as tell:
        return list(uploader.upload(paths, progress=tell))


def refuse_missing(paths: Sequence[Path]) -> None:
    """Raise InvalidRequest, naming every path that is not there."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise InvalidRequest(f"There is no {', no '.join(missing)}.")


@action
def download_command(args: Any) -> None:
    """Fetch a job's results."""
    with access(args) as rescale:
        files = fetch(
            rescale,
            args.job_id,
            args.directory or Path(args.job_id),
            only=args.match or (),
            but=args.exclude or (),
            connections=args.connections,
        )
    show_fetched(files, args.output)


def fetch(
    rescale: Access,
    job_id: str,
    directory: Path,
    *,
    only: Sequence[str] = (),
    but: Sequence[str] = (),
    connections: int | None = None,
) -> list[dict[str, Any]]:
    """Fetch a job's results and return a row for each file that is there now.

    :raises NotFound: if none matches; says how the job stands.
    """
    from scale_airflow.rescale.results import of_job

    chosen = of_job(rescale.client, job_id, only=only, but=but)
    if not chosen.files:
        raise NotFound(_nothing(rescale, job_id, chosen.seen))
    with rescale.downloader(connections) as downloader, progress_bar("Fetched") as tell:
        arrived = downloader.download(chosen.files, directory, progress=tell, names=chosen.name_of)
    return [
        {
            "path": str(each.path),
            "size": each.file.size,
            "checked": each.verified,
            "was_there": "yes" if each.kept else "no",
        }
        for each in arrived
    ]


def show_fetched(rows: Sequence[dict[str, Any]], output: str) -> None:
    """Print what :func:`fetch` returned."""
    present(rows, output, shown={"size": size}, right=("size",))


def _nothing(rescale: Access, job_id: str, seen: int) -> str:
    from scale_airflow.cli.rescale_watch import look

    if seen:
        return f"None of its {seen} files matches; `airflow rescale files --job {job_id}` lists them."
    return f"Job {job_id} has no files: {look(rescale.client, job_id).news}"
