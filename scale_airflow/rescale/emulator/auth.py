# SPDX-License-Identifier: Apache-2.0
"""Who asks: API keys that are good, expired, of a deactivated user or of another region."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from scale_airflow.rescale.emulator.refusals import RefusedError
from scale_airflow.rescale.emulator.state import State

MISSING = "Authentication credentials were not provided."
INVALID = "Invalid token."
EXPIRED = "API key is no longer active"
INACTIVE = "User inactive or deleted."


@dataclass(frozen=True)
class Caller:
    """The user behind a key."""

    email: str
    number: int
    job_id: str | None = None


def email_of(number: int) -> str:
    """Return the address of the n-th user (from 1)."""
    return "demo@example.com" if number == 1 else f"demo{number}@example.com"


class Keys:
    """The keys that the emulator was started with, and those of its jobs.

    :param good: one user each, in this order.
    :param expired: refused as too old; :param inactive: refused as a deactivated user's.
    """

    def __init__(
        self, state: State, good: Iterable[str], expired: Iterable[str] = (), inactive: Iterable[str] = ()
    ) -> None:
        self._state = state
        self._good = list(good)
        self._refused = [(key, EXPIRED) for key in expired] + [(key, INACTIVE) for key in inactive]

    def caller(self, header: str | None) -> tuple[str, Caller]:
        """Return the key and its user.

        :param header: ``Authorization`` as it came: ``Token KEY``, or ``Bearer KEY``.
        :raises RefusedError: 401 with the service's words.
        """
        key = _key_in(header)
        for number, good in enumerate(self._good, 1):
            if hmac.compare_digest(key.encode(), good.encode()):
                return key, Caller(email_of(number), number)
        for known, detail in self._refused:
            if hmac.compare_digest(key.encode(), known.encode()):
                raise _unauthorized(detail)
        record = self._state.keys.get(key)
        if record is None:
            raise _unauthorized(INVALID)
        if not record.active:
            raise _unauthorized(EXPIRED)
        number = next((n for n in range(1, len(self._good) + 1) if email_of(n) == record.owner), 1)
        return key, Caller(record.owner, number, record.job_id)


def _key_in(header: str | None) -> str:
    words = (header or "").split(" ")
    if words[0].lower() not in ("token", "bearer"):
        raise _unauthorized(MISSING)
    if len(words) == 1 or not words[1]:
        raise _unauthorized("Invalid token header. No credentials provided.")
    if len(words) > 2:
        raise _unauthorized("Invalid token header. Token string should not contain spaces.")
    return words[1]


def _unauthorized(detail: str) -> RefusedError:
    return RefusedError(401, {"detail": detail}, {"WWW-Authenticate": "Token"})
