# SPDX-License-Identifier: Apache-2.0
"""Fetching generated DAG files from the API server, on hosts into which they are not published."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple
from urllib.parse import quote

import requests

from scale_airflow.compiler.dag_files import DagFile, content_hash, split_file_name
from scale_airflow.compiler.local_files import LocalDagFiles
from scale_airflow.config import CONNECTION_ID
from scale_airflow.errors import ScaleApiError

log = logging.getLogger(__name__)

_TIMEOUT = (5, 30)
_LISTING = "/scale/api/runtime/dag-files/"
# The id of the last file of the listing that this host has, so that it asks for later ones only.
_SEEN_FILE = ".fetched"


class _Server(NamedTuple):
    base_url: str
    secret: str


class DagFileSource:
    """Fetches files from the API server that the connection ``scale_default`` names.

    :param files: the directory that is filled.
    """

    def __init__(self, files: LocalDagFiles):
        self._files = files
        self._session = requests.Session()

    def fetch(self, file_name: str) -> None:
        """Fetch one file.

        :raises ScaleApiError: if the API server can't be reached, refuses, or sends another content.
        """
        self._fetch(_server(), file_name)

    def fetch_newer(self) -> None:
        """Fetch what was published since the last time.

        :raises ScaleApiError: if the API server can't be reached, refuses, or sends another content.
        """
        self._fetch_listed(_server(), after=self._seen())

    def synchronize(self) -> None:
        """Fetch everything that is missing or damaged, and hide and show as the API server says.

        :raises ScaleApiError: if the API server can't be reached, refuses, or sends another content.
        """
        self._fetch_listed(_server(), after=0)

    def _fetch_listed(self, server: _Server, *, after: int) -> None:
        seen = after
        for entry in self._listing(server, after):
            file_name = entry["file_name"]
            if not self._files.is_intact(file_name):
                self._fetch(server, file_name)
            if entry.get("hidden", False):
                self._files.hide(split_file_name(file_name)[0])
            else:
                self._files.show(file_name)
            seen = max(seen, entry["id"])
        self._remember(seen)

    def _listing(self, server: _Server, after: int) -> list[dict[str, Any]]:
        answer = self._get(server, f"{_LISTING}?after={after}")
        try:
            entries: list[dict[str, Any]] = answer.json()["files"]
            for entry in entries:
                split_file_name(entry["file_name"])
                int(entry["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise ScaleApiError(
                f"The listing of DAG files from {server.base_url} can't be read: {error}"
            ) from error
        return sorted(entries, key=lambda entry: int(entry["id"]))

    def _fetch(self, server: _Server, file_name: str) -> None:
        dag_id, digest = split_file_name(file_name)
        content = self._get(server, f"{_LISTING}{quote(file_name)}").content
        found = content_hash(content)
        if not found.startswith(digest):
            raise ScaleApiError(f"{server.base_url} sent another content for the DAG file {file_name}")
        self._files.write(DagFile(dag_id, file_name, content.decode(), found))
        log.info("Fetched the generated DAG file %s", file_name)

    def _get(self, server: _Server, path: str) -> requests.Response:
        try:
            answer = self._session.get(
                server.base_url + path,
                headers={"Authorization": f"Bearer {server.secret}"},
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ScaleApiError(
                f"The Scale API server {server.base_url} can't be reached: {type(error).__name__}"
            ) from error
        if answer.status_code != requests.codes.ok:
            raise ScaleApiError(
                f"The Scale API server {server.base_url} answered {answer.status_code} to a request for "
                "generated DAG files",
                status=answer.status_code,
            )
        return answer

    def _seen(self) -> int:
        try:
            return int((self._files.directory / _SEEN_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _remember(self, seen: int) -> None:
        # Losing this only means that a listing is longer once.
        (self._files.directory / _SEEN_FILE).write_text(str(seen))


def _server() -> _Server:
    from airflow.sdk import Connection

    try:
        connection = Connection.get(CONNECTION_ID)
    except Exception as error:
        raise ScaleApiError(
            f"The connection {CONNECTION_ID} is needed to fetch generated DAG files, and can't be read: "
            f"{type(error).__name__}. `airflow scale init` makes it."
        ) from error
    if not connection.host or not connection.password:
        raise ScaleApiError(
            f"The connection {CONNECTION_ID} lacks its host (the API server's address) or its password; "
            "`airflow scale init` makes it."
        )
    host = connection.host
    if "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"http://{host}{port}"
    return _Server(host.rstrip("/"), connection.password)
