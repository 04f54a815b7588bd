# SPDX-License-Identifier: Apache-2.0
"""Inputs that are at Rescale already: found by name, size and checksum, and not sent again."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

from scale_airflow.errors import RescaleError
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints_files import list_files
from scale_airflow.rescale.file_models import FileType, RemoteFile

FEW = 20
"""Files up to which each name is searched for; for more, the newest files are listed once."""
_LOOK_AT = 300
_NEWEST = 3000


class UnchangedFiles:
    """Finds inputs with the same name and the same bytes; the server's word counts, nothing local.

    :param count: how many files will be asked for.
    """

    def __init__(self, client: RescaleClient, count: int) -> None:
        self._client = client
        self._lists = count > FEW
        self._lock = threading.Lock()
        self._listed: dict[str, list[RemoteFile]] | None = None

    def find(self, name: str, size: int, sha512: Callable[[], str]) -> RemoteFile | None:
        """Return an input of this name, size and checksum, None if there is none that can be found.

        :param sha512: computes the checksum; only called if name and size fit.
        """
        fitting = [file for file in self._named(name) if file.size == size and file.sha512 is not None]
        if not fitting:
            return None
        wanted = sha512()
        return next((file for file in fitting if file.sha512 == wanted), None)

    def _named(self, name: str) -> Sequence[RemoteFile]:
        try:
            if not self._lists:
                return _usable(self._client, search=name, most=_LOOK_AT)[name]
            with self._lock:
                if self._listed is None:
                    self._listed = _usable(self._client, search=None, most=_NEWEST)
                return self._listed.get(name, [])
        except RescaleError:
            return []  # not worth an error: then it is sent


def _usable(client: RescaleClient, *, search: str | None, most: int) -> dict[str, list[RemoteFile]]:
    """Return inputs by name, the newest first."""
    found: dict[str, list[RemoteFile]] = defaultdict(list)
    for file in islice(client.pages(list_files(search=search)), most):
        if file.type_id in (None, FileType.INPUT) and file.is_uploaded and not file.is_deleted:
            found[file.name].append(file)
    return found
