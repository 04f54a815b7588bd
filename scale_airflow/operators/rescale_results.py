# SPDX-License-Identifier: Apache-2.0
"""What an ended job left: whether its commands did well, its files here, and a short list of them."""

from __future__ import annotations

import fnmatch
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath

from scale_airflow.errors import RescaleError, RescaleJobFailed, RescaleNotFound, RescaleRefused
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_inputs import transfer_arguments
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints import (
    delete_job,
    get_file_contents,
    get_job,
    list_job_files,
    list_run_files,
    list_runs,
)
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.job_body import EXIT_CODE_NAME
from scale_airflow.rescale.transfers.download import Downloader

# XCom is no place for ten thousand names.
_SHOWN_FILES = 200
_DELETE_PAUSE = 5.0
_DELETE_PATIENCE = 900.0


def check_exit_codes(client: RescaleClient, job_id: str) -> None:
    """Read what the wrapped commands left.

    :raises RescaleJobFailed: if one ended with something else than 0, or left nothing.
    """
    files = [
        file
        for file in client.all(list_job_files(job_id, search=EXIT_CODE_NAME))
        if file.name.startswith(EXIT_CODE_NAME)
    ]
    wanted = len(client.send(get_job(job_id)).analyses)
    codes = {
        file.id: client.send(get_file_contents(file.id)).decode("ascii", "replace").strip() for file in files
    }
    bad = [f"{file.name}: {codes[file.id] or 'empty'}" for file in files if codes[file.id] != "0"]
    if len(files) < wanted:
        bad.append(f"{len(files)} of {wanted} commands left an exit code")
    if bad:
        reason = "A command did not end with exit code 0 (" + ", ".join(bad) + ")"
        raise RescaleJobFailed(reason, job_id=job_id, reason=reason)


def files_of(client: RescaleClient, job_id: str) -> dict[str, list[RemoteFile]]:
    """Return a job's output files by the folder they go to: "" for one run, ``run1`` … for several."""
    runs = client.all(list_runs(job_id))
    if len(runs) <= 1:
        return {"": client.all(list_job_files(job_id))}
    return {f"run{run.id}": client.all(list_run_files(job_id, run.id)) for run in runs}


def chosen(file: RemoteFile, filters: Sequence[str]) -> bool:
    """Whether a file passes the filters.

    :param filters: patterns of paths or names; one that begins with ``!`` leaves files out. Without one that
        takes files in, all are.
    """
    path = file.relative_path or file.name
    taken = [pattern for pattern in filters if not pattern.startswith("!")]
    left = [pattern[1:] for pattern in filters if pattern.startswith("!")]

    def fits(patterns: Iterable[str]) -> bool:
        return any(
            fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(file.name, pattern)
            for pattern in patterns
        )

    return (not taken or fits(taken)) and not fits(left)


def download(
    hook: RescaleHook,
    files: dict[str, list[RemoteFile]],
    target: str | ObjectStoragePath,
    filters: Sequence[str],
    log: Any,
) -> list[str]:
    """Fetch a job's files and return where they lie.

    :param target: a directory, or the address of one in an object store.
    :raises TransferError: if a file can't be had whole.
    """
    place = target if isinstance(target, ObjectStoragePath) else None
    if place is None and "://" in str(target):
        place = ObjectStoragePath(str(target))
    if place is not None and place.protocol == "file":
        target, place = place.path, None
    with tempfile.TemporaryDirectory(prefix="rescale-results-") as temporary:
        folder = Path(str(target)) if place is None else Path(temporary)
        fetched = _fetch(hook, files, folder, filters, str(target), log)
        if place is None:
            return [str(path) for path in fetched]
        return [_store(path, place / path.relative_to(folder).as_posix()) for path in fetched]


def _fetch(
    hook: RescaleHook,
    files: dict[str, list[RemoteFile]],
    folder: Path,
    filters: Sequence[str],
    target: str,
    log: Any,
) -> list[Path]:
    fetched: list[Path] = []
    with Downloader(hook.credentials(), **transfer_arguments(hook)) as downloader:
        for name, group in files.items():
            wanted = [file for file in group if chosen(file, filters)]
            if group and not wanted:
                log.warning("None of the %d files is wanted by %s", len(group), ", ".join(filters))
                continue
            started = time.monotonic()
            done = downloader.download(wanted, folder / name if name else folder)
            size = sum(one.file.size or 0 for one in done)
            count = f"{len(done)} {'file' if len(done) == 1 else 'files'}"
            place = f"{target.rstrip('/')}/{name}" if name else target
            log.info(
                "Fetched %s, %d bytes, into %s in %.1f s", count, size, place, time.monotonic() - started
            )
            fetched += [one.path for one in done]
    return fetched


def _store(path: Path, target: ObjectStoragePath) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)
    return str(target)


def shown(files: dict[str, list[RemoteFile]]) -> dict[str, Any]:
    """Return the short list for XCom; without addresses and keys."""
    rows = [(folder, file) for folder, group in files.items() for file in group]
    return {
        "file_count": len(rows),
        "total_bytes": sum(file.size or 0 for _, file in rows),
        "files": [
            {
                "id": file.id,
                "path": f"{folder}/{file.relative_path}" if folder else file.relative_path or file.name,
                "size": file.size,
                "sha512": file.sha512,
            }
            for folder, file in rows[:_SHOWN_FILES]
        ],
    }


def delete_when_possible(
    client: RescaleClient, job_id: str, log: Any, nap: Callable[[float], None] = time.sleep
) -> None:
    """Delete an ended job as soon as its cluster has stopped; what fails is told, and no error."""
    until = time.monotonic() + _DELETE_PATIENCE
    while True:
        try:
            client.send(delete_job(job_id))
            log.info("Job %s is deleted", job_id)
            return
        except RescaleNotFound:
            return
        except RescaleRefused as error:
            if time.monotonic() >= until:
                log.warning("Job %s could not be deleted: %s", job_id, error)
                return
        except RescaleError as error:
            log.warning("Job %s could not be deleted: %s", job_id, error)
            return
        nap(_DELETE_PAUSE)
