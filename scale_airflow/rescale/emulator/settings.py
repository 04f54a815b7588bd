# SPDX-License-Identifier: Apache-2.0
"""What can be set of an emulator, at its start and while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

DOCUMENTED_RATES: dict[str, tuple[int, float]] = {
    "user": (7200, 3600.0),
    "job-submission": (1000, 3600.0),
    "jobs-usage": (90000, 3600.0),
}
"""Scope → (requests, seconds): the limits that Rescale's API documentation gives."""


@dataclass
class Settings:
    """How the emulator behaves; the admin plane changes it while it runs.

    The quirks (the last group) are the real service's and on by default, but for the last two, which nobody
    has seen: a client that works with them off only does not work.

    :param pace: what all waits of jobs and clusters are multiplied by.
    :param speed_per_connection: bytes a second and direction; 0: as fast as it goes.
    :param speed_total: bytes a second and direction of all connections together; 0: no limit.
    :param latency: seconds before a request is looked at; :param jitter: up to so many more, at random.
    :param throttle: refuse with 429 what exceeds the rates; :param rates: scope → (requests, seconds).
    :param retry_after: form of that header: ``"seconds"``, ``"date"`` or ``"none"``.
    :param project_required: a job without ``projectId`` is refused.
    :param gateway_timeout_every: every so manieth request for a job's statuses is answered 504; 0: none.
    :param mixed_dates: job dates end in ``+00:00``, cluster dates in ``Z``; off: all in ``Z``.
    :param ignore_late_changes: PATCH of a submitted job answers 200 and changes nothing; off: 400.
    :param redirect_contents: contents are had from a storage on another host, where the key is refused.
    :param statuses_late: real seconds until a job's new status is told; until then its history is as before.
    """

    pace: float = 1.0
    speed_per_connection: float = 0.0
    speed_total: float = 0.0
    latency: float = 0.0
    jitter: float = 0.0
    throttle: bool = False
    rates: dict[str, tuple[int, float]] = field(default_factory=lambda: dict(DOCUMENTED_RATES))
    retry_after: str = "seconds"
    project_required: bool = False
    gateway_timeout_every: int = 25
    mixed_dates: bool = True
    ignore_late_changes: bool = True
    redirect_contents: bool = False
    statuses_late: float = 0.0

    def change(self, document: Any) -> None:
        """Change what the document names.

        :param document: names of fields → values; ``rates`` merges, its values are ``[requests, seconds]``.
        :raises ValueError: names every fault; nothing is changed then.
        """
        if not isinstance(document, dict):
            raise ValueError("Settings are an object: name → value.")
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        faults = [
            fault for name, value in document.items() if (fault := _fault(name, value, known)) is not None
        ]
        if faults:
            raise ValueError(" ".join(faults))
        for name, value in document.items():
            if name == "rates":
                self.rates.update({scope: (int(rate[0]), float(rate[1])) for scope, rate in value.items()})
            else:
                setattr(self, name, type(known[name])(value))

    def to_document(self) -> dict[str, Any]:
        """Return all of it, in the form that :meth:`change` takes."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def _fault(name: str, value: Any, known: dict[str, Any]) -> str | None:
    if name not in known:
        return f"There is no setting {name!r}; there are {', '.join(sorted(known))}."
    if name == "rates":
        good = isinstance(value, dict) and all(
            isinstance(rate, list) and len(rate) == 2 and all(_is_number(one) and one > 0 for one in rate)
            for rate in value.values()
        )
        return None if good else "rates is an object: scope → [requests, seconds], both above 0."
    if name == "retry_after":
        return None if value in ("seconds", "date", "none") else "retry_after is seconds, date or none."
    if isinstance(known[name], bool):
        return None if isinstance(value, bool) else f"{name} is true or false."
    return None if _is_number(value) and value >= 0 else f"{name} is a number, 0 or more."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
