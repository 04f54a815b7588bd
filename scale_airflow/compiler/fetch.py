# SPDX-License-Identifier: Apache-2.0
"""Fetching generated DAG files from the API server, on hosts into which they are not published."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from scale_airflow.compiler.dag_files import DagFile, content_hash, split_file_name
from scale_airflow.compiler.local_files import LocalDagFiles
from scale_airflow.config import CONNECTION_ID
from scale_airflow.errors import ScaleApiError

if TYPE_CHECKING:
    from scale_airflow.hooks.client import RuntimeClient

log = logging.getLogger(__name__)

# The id of the last listed file that this host has, so that it asks for later ones only.
_SEEN_FILE = ".fetched"


class DagFileSource:
    """Fetches files from the API server that the connection ``scale_default`` names.

    Whatever the server answers, only files with the content that their name stands for are kept.

    :param files: the directory that is filled.
    """

    def __init__(self, files: LocalDagFiles):
        self._files = files

    def fetch(self, file_name: str) -> None:
        """Fetch one file.

        :raises ValueError: if this is not the name of a generated file.
        :raises ScaleApiError: if the API server can't be reached, refuses, or sends another content.
        """
        dag_id, digest = split_file_name(file_name)
        source = self._client.dag_file(file_name)
        found = content_hash(source.encode())
        if not found.startswith(digest):
            raise ScaleApiError(f"The API server sent another content for the DAG file {file_name}.")
        self._files.write(DagFile(dag_id, file_name, source, found))
        log.info("Fetched the generated DAG file %s", file_name)

    def fetch_newer(self) -> None:
        """Fetch what was published since the last time.

        :raises ScaleApiError: if the API server can't be reached, refuses, or sends another content.
        """
        self._fetch_listed(self._seen())

    def synchronize(self) -> None:
        """Fetch everything that is missing or damaged, and hide and show as the API server says.

        :raises ScaleApiError: if the API server can't be reached, refuses, or sends another content.
        """
        self._fetch_listed(0)

    def _fetch_listed(self, seen: int) -> None:
        while entries := self._page(seen):
            for identifier, file_name, is_hidden in entries:
                if not self._files.is_intact(file_name):
                    self.fetch(file_name)
                # Of several files of one DAG the last is the one that counts.
                if is_hidden:
                    self._files.hide(split_file_name(file_name)[0])
                else:
                    self._files.show(file_name)
                seen = identifier
            self._remember(seen)

    def _page(self, after: int) -> list[tuple[int, str, bool]]:
        try:
            entries = sorted(
                (int(entry["id"]), str(entry["file_name"]), bool(entry.get("hidden", False)))
                for entry in self._client.dag_files(after)
            )
            for _, file_name, _ in entries:
                split_file_name(file_name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScaleApiError(f"The API server's list of DAG files can't be read: {error}") from error
        return [entry for entry in entries if entry[0] > after]

    @cached_property
    def _client(self) -> RuntimeClient:
        from scale_airflow.hooks.scale import ScaleHook

        try:
            return ScaleHook(CONNECTION_ID).client
        except ScaleApiError:
            raise
        except Exception as error:
            raise ScaleApiError(
                f"The connection {CONNECTION_ID} is needed to fetch generated DAG files, and can't be used "
                f"({type(error).__name__}). `airflow scale init` makes it."
            ) from error

    def _seen(self) -> int:
        try:
            return int((self._files.directory / _SEEN_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _remember(self, seen: int) -> None:
        # Losing this only means that a listing is longer once.
        (self._files.directory / _SEEN_FILE).write_text(str(seen))
