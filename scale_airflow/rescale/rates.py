# SPDX-License-Identifier: Apache-2.0
"""Rate buckets: requests wait here, before Rescale has to refuse them.

Rescale counts requests an hour and scope (its documentation: Rate limits). A bucket that is refilled at 85 %
of a limit and holds 15 % of it never exceeds the limit in any hour, and lets short bursts pass at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scale_airflow.rescale.calls import Scope
from scale_airflow.rescale.credentials import Credentials

# Requests an hour. Scopes that Rescale names without a number are not here: only its 429 limits them.
DOCUMENTED_LIMITS: Mapping[Scope, float] = {
    Scope.USER: 7200,
    Scope.JOB_SUBMISSION: 1000,
    Scope.JOBS_USAGE: 90000,
}
SHARE = 0.85
_HOUR = 3600.0


@dataclass
class _Bucket:
    rate: float
    size: float
    level: float
    moment: float


class RateBuckets:
    """The buckets of one key at one server; safe to use from several threads and event loops.

    :param limits: requests an hour by scope; a scope that is not there, or None, is not limited.
    :param clock: seconds that never go back.
    """

    def __init__(
        self,
        limits: Mapping[Scope, float | None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._clock = clock
        # A signal's handler may ask in the midst of its own thread's asking.
        self._lock = threading.RLock()
        self._closed_until: dict[Scope, float] = {}
        self._buckets: dict[Scope, _Bucket] = {}
        for scope, limit in (DOCUMENTED_LIMITS if limits is None else limits).items():
            if limit is not None:
                if not limit > 0:
                    raise ValueError(f"The limit of {scope.value} must be above 0 requests an hour.")
                size = max(1.0, limit * (1 - SHARE))
                self._buckets[scope] = _Bucket(limit * SHARE / _HOUR, size, size, clock())

    def reserve(self, scope: Scope) -> float:
        """Take one request out of a scope's bucket and return how many seconds to wait before sending it."""
        with self._lock:
            now = self._clock()
            wait = max(0.0, self._closed_until.get(scope, now) - now)
            bucket = self._buckets.get(scope)
            if bucket is None:
                return wait
            bucket.level = min(bucket.size, bucket.level + (now - bucket.moment) * bucket.rate)
            bucket.moment = now
            bucket.level -= 1
            return max(wait, -bucket.level / bucket.rate)

    def give_back(self, scope: Scope) -> None:
        """Return a request that was not sent after all."""
        with self._lock:
            if bucket := self._buckets.get(scope):
                bucket.level = min(bucket.size, bucket.level + 1)

    def throttled(self, scope: Scope, seconds: float) -> None:
        """Let nothing of a scope pass for some seconds, because Rescale has said so (429)."""
        with self._lock:
            # Rescale counts by the hour: whatever it says, by then there is room again.
            until = self._clock() + min(seconds, _HOUR)
            self._closed_until[scope] = max(until, self._closed_until.get(scope, until))


_shared: dict[tuple[str, str, tuple[tuple[str, float | None], ...]], RateBuckets] = {}
_shared_lock = threading.RLock()


def shared_buckets(
    credentials: Credentials, limits: Mapping[Scope, float | None] | None = None
) -> RateBuckets:
    """Return the buckets that all clients of this process share for a server, key and limits."""
    told = tuple(sorted((scope.value, limit) for scope, limit in (limits or {}).items()))
    with _shared_lock:
        key = (credentials.base_url, credentials.digest, told)
        if key not in _shared:
            _shared[key] = RateBuckets({**DOCUMENTED_LIMITS, **(limits or {})})
        return _shared[key]


def limits_of(document: object) -> dict[Scope, float | None]:
    """Read limits that a user has written: scope → requests an hour, null for none.

    :raises ValueError: naming what is wrong and which scopes there are.
    """
    scopes = ", ".join(scope.value for scope in Scope)
    if not isinstance(document, Mapping):
        raise ValueError(f"rates must be an object of requests an hour by scope ({scopes}).")
    limits: dict[Scope, float | None] = {}
    for name, limit in document.items():
        if name not in {scope.value for scope in Scope}:
            raise ValueError(f"rates has {name!r}, but the scopes are {scopes}.")
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit <= 0
        ):
            raise ValueError(f"rates: {name} must be a number of requests an hour above 0, or null.")
        limits[Scope(name)] = limit
    return limits
