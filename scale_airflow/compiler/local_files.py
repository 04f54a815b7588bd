# SPDX-License-Identifier: Apache-2.0
"""The directory of generated DAG files on one host.

Each DAG has a folder, with its file and a ``.airflowignore`` where it is hidden: to hide, show or load one of
ten thousand costs the same as of one, and two writers never meet in a file that they share.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from scale_airflow import crash_points
from scale_airflow.compiler.dag_files import DagFile, content_hash, split_file_name
from scale_airflow.errors import NotFound

IGNORE_FILE = ".airflowignore"
# Says that files are published here, so that nothing can be missing that another host has.
_ORIGIN_FILE = ".origin"


class LocalDagFiles:
    """Generated DAG files below one directory; safe for any number of threads, processes and hosts.

    Files are written to a temporary name, synced and renamed: they are complete or not there.
    """

    def __init__(self, directory: Path):
        self.directory = directory

    def path_of(self, file_name: str) -> Path:
        """Return where a file lies, whether it exists or not.

        :raises ValueError: if this is not the name of a generated file.
        """
        return self.directory / self.relative_path_of(file_name)

    @staticmethod
    def relative_path_of(file_name: str) -> str:
        """Return a file's path below the directory, which is how Airflow names it.

        :raises ValueError: if this is not the name of a generated file.
        """
        dag_id, _ = split_file_name(file_name)
        return f"{dag_id}/{file_name}"

    def write(self, dag_file: DagFile) -> Path:
        """Make sure that a file is there, and is what it should be; a damaged one is replaced."""
        path = self.path_of(dag_file.file_name)
        if not self.is_intact(dag_file.file_name):
            _write_file(path, dag_file.source.encode())
        return path

    def is_intact(self, file_name: str) -> bool:
        """Say whether a file is there with the content that its name stands for.

        :raises ValueError: if this is not the name of a generated file.
        """
        _, digest = split_file_name(file_name)
        content = _content_of(self.path_of(file_name))
        return content is not None and content_hash(content).startswith(digest)

    def read(self, file_name: str) -> DagFile:
        """Read a file and check its content.

        :raises ValueError: if this is not the name of a generated file.
        :raises NotFound: if it is missing or damaged.
        """
        dag_id, digest = split_file_name(file_name)
        content = _content_of(self.path_of(file_name))
        if content is None or not content_hash(content).startswith(digest):
            raise NotFound(f"The generated DAG file {file_name} is missing or damaged")
        return DagFile(dag_id, file_name, content.decode(), content_hash(content))

    def show(self, file_name: str) -> None:
        """Let Airflow's DAG processor see this file, and no other file of the same DAG."""
        dag_id, _ = split_file_name(file_name)
        self._ignore(dag_id, [other for other in self._files_of(dag_id) if other != file_name])

    def hide(self, dag_id: str) -> None:
        """Keep Airflow's DAG processor from a DAG's files; tasks still load them by their path."""
        self._ignore(dag_id, self._files_of(dag_id))

    def is_hidden(self, file_name: str) -> bool:
        """Say whether Airflow's DAG processor is kept from a file.

        :raises ValueError: if this is not the name of a generated file.
        """
        dag_id, _ = split_file_name(file_name)
        return file_name in self._ignored(dag_id)

    def visible_files(self) -> Iterator[str]:
        """Yield the names of all files that are not hidden, sorted."""
        for folder in self._folders():
            hidden = self._ignored(folder)
            yield from (name for name in self._files_of(folder) if name not in hidden)

    def all_files(self) -> Iterator[str]:
        """Yield the names of all files, hidden ones too, sorted."""
        for folder in self._folders():
            yield from self._files_of(folder)

    def mark_as_origin(self) -> None:
        """Remember that files are published into this directory, so nothing needs fetching into it."""
        marker = self.directory / _ORIGIN_FILE
        if not marker.exists():
            _write_file(marker, b"Generated DAG files are published here by Scale's API server.\n")

    def is_origin(self) -> bool:
        """Say whether files are published into this directory."""
        return (self.directory / _ORIGIN_FILE).exists()

    def _folders(self) -> list[str]:
        try:
            with os.scandir(self.directory) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []

    def _files_of(self, dag_id: str) -> list[str]:
        try:
            found = os.listdir(self.directory / dag_id)
        except FileNotFoundError:
            return []
        return sorted(name for name in found if _belongs_to(name, dag_id))

    def _ignored(self, dag_id: str) -> set[str]:
        content = _content_of(self.directory / dag_id / IGNORE_FILE) or b""
        return set(content.decode().splitlines())

    def _ignore(self, dag_id: str, file_names: Iterable[str]) -> None:
        path = self.directory / dag_id / IGNORE_FILE
        # File names mean the same in both syntaxes that Airflow knows, patterns would not.
        wanted = "".join(f"{name}\n" for name in file_names)
        if not wanted:
            crash_points.reach("dag_files.show.before")
            path.unlink(missing_ok=True)
            crash_points.reach("dag_files.show.after")
        elif _content_of(path) != wanted.encode():
            _write_file(path, wanted.encode())


def _belongs_to(name: str, dag_id: str) -> bool:
    try:
        return split_file_name(name)[0] == dag_id
    except ValueError:
        return False


def _content_of(path: Path) -> bytes | None:
    """Read a file that another writer may remove at any moment; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is complete, or not there, whatever happens when."""
    is_new_folder = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        # Workers may run as other users than the API server.
        os.chmod(temporary, 0o644)
        crash_points.reach("dag_files.write.before")
        os.replace(temporary, path)
        crash_points.reach("dag_files.write.after")
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_directory(path.parent)
    if is_new_folder:
        _sync_directory(path.parent.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
