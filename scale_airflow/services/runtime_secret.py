# SPDX-License-Identifier: Apache-2.0
"""The secret of the workers' connection, as the API server checks it."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time

from scale_airflow.config import CONNECTION_ID
from scale_airflow.engine.connections import stored_connection
from scale_airflow.errors import Forbidden, InstallationError
from scale_airflow.store.session import transaction

#: A rotated secret is taken, and the old one refused, after this time at the latest.
CACHE_SECONDS = 5.0


class RuntimeSecret:
    """Compares what workers send with the stored secret, of which only a hash is remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digest = b""
        self._read = float("-inf")

    def is_known(self, given: str) -> bool:
        """Tell whether this is the secret, without a look at the database: false where that needs one."""
        if time.monotonic() - self._read > CACHE_SECONDS:
            return False
        return hmac.compare_digest(_digest_of(given), self._digest)

    def check(self, given: str) -> None:
        """Let through who knows the secret.

        :raises Forbidden: if it is another one.
        :raises InstallationError: if the connection does not exist.
        """
        digest = _digest_of(given)
        if hmac.compare_digest(digest, self._stored()):
            return
        self._read = float("-inf")  # it may have been rotated a moment ago
        if not hmac.compare_digest(digest, self._stored()):
            raise Forbidden(f"The secret is not that of the connection {CONNECTION_ID}.")

    def _stored(self) -> bytes:
        with self._lock:
            if time.monotonic() - self._read > CACHE_SECONDS:
                self._digest = self._load()
                self._read = time.monotonic()
            return self._digest

    def _load(self) -> bytes:
        with transaction() as session:
            connection = stored_connection(session, CONNECTION_ID)
        if connection is None or not connection.secret:
            raise InstallationError(
                f"The connection {CONNECTION_ID} does not exist or has no secret.",
                "Run `airflow scale init`.",
            )
        return hashlib.sha256(connection.secret.encode()).digest()


def _digest_of(given: str) -> bytes:
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
