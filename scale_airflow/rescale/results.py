# SPDX-License-Identifier: Apache-2.0
"""Which of a job's output files are wanted, and under which local names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from scale_airflow.rescale.endpoints import list_job_files, list_run_files, list_runs
from scale_airflow.rescale.file_models import RemoteFile

if TYPE_CHECKING:
    from scale_airflow.rescale.client import RescaleClient


@dataclass(frozen=True)
class Results:
    """Output files of a job.

    :param seen: how many there are, those that are not wanted included.
    :param folders: file id → the folder of its run, where a job has several, whose files have the same names.
    """

    files: tuple[RemoteFile, ...]
    seen: int
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def name_of(self) -> Callable[[RemoteFile], str] | None:
        """The relative path of a file among all; None where its own path will do."""
        if not self.folders:
            return None
        return lambda file: f"{self.folders[file.id]}/{file.relative_path or file.name}"


def of_job(
    client: RescaleClient, job_id: str, *, only: Sequence[str] = (), but: Sequence[str] = ()
) -> Results:
    """Return a job's output files that match.

    Of several runs (a DOE) each has a folder of its own, ``run1``, ``run2``, …

    :param only: patterns (``*.csv``) of which a file's path or name must match one; none: every file.
    :param but: patterns that a file's path and name must not match.
    """
    runs = client.all(list_runs(job_id))
    folders: dict[str, str] = {}
    files: list[RemoteFile] = []
    if len(runs) > 1:
        for run in runs:
            for file in client.pages(list_run_files(job_id, run.id)):
                files.append(file)
                folders[file.id] = f"run{run.id}"
    else:
        files = client.all(list_job_files(job_id))
    wanted = tuple(file for file in files if is_wanted(file, only, but))
    return Results(wanted, len(files), folders)


def is_wanted(file: RemoteFile, only: Sequence[str], but: Sequence[str]) -> bool:
    """Tell whether a file matches; by its path or its name, as the pattern likes."""
    names = {file.relative_path.lstrip("/"), file.name} - {""}

    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return (not only or matches(only)) and not matches(but)
