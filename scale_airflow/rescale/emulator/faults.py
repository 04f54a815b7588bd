# SPDX-License-Identifier: Apache-2.0
"""Faults by rule: which request goes wrong, how often, and in what way."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, fields
from typing import Any

KINDS = {
    "status": "answers `status` (with `body`); `retry_after` is seconds, date or none, of `seconds` seconds; "
    "with `effect` the request is done all the same",
    "reset": "resets the connection after `after_bytes` of the body, or by chance `per_megabyte`",
    "truncate": "ends the body after `after_bytes`, under the full Content-Length",
    "corrupt": "changes the byte at `after_bytes`",
    "stall": "sends nothing more after `after_bytes` of the body",
    "slow": "sends the body with `speed` bytes a second",
    "ignore_range": "answers 200 with the whole file, as if no range was asked for",
    "lost": "does what was asked, then cuts the connection without an answer",
    "cut": "cuts the connection before anything is done",
    "cut_upload": "cuts the connection after `after_bytes` of an upload arrived",
    "hang": "never answers; with `effect` does first what was asked",
    "garbage": "answers 200 with `body`, by default half a JSON document; with `effect` does it first",
    "delay": "waits `seconds`, then answers as always",
}
"""Kind → what happens, with the names of its options."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; the fields are the options that ``KINDS`` names."""

    kind: str
    status: int = 503
    body: str | None = None
    retry_after: str = "none"
    seconds: float = 1.0
    after_bytes: int = 0
    per_megabyte: float = 0.0
    speed: float = 0.0
    effect: bool = False


@dataclass
class Rule:
    """When a fault happens.

    :param method: the request's method, ``""``: any; :param path: regular expression searched in path and
        query.
    :param skip: so many matching requests go well first; :param times: then so many go wrong (None: for
        ever), each with the given ``probability``.
    """

    id: int
    fault: Fault
    method: str = ""
    path: str = ""
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    matched: int = 0
    fired: int = 0

    def to_document(self) -> dict[str, Any]:
        """Return the rule, its fault's options beside its own, and how often it matched and fired."""
        return {**{name: value for name, value in vars(self).items() if name != "fault"}, **vars(self.fault)}


@dataclass
class Faults:
    """The rules in force. Chance is the same in every process: its seed is fixed."""

    rules: list[Rule] = field(default_factory=list)
    _number: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(11))  # noqa: S311

    def add(self, document: Any) -> Rule:
        """Add a rule: fields of :class:`Rule` and of :class:`Fault` in one object.

        :raises ValueError: names every fault of the document.
        """
        faults = _document_faults(document)
        if faults:
            raise ValueError(" ".join(faults))
        options = {name: document[name] for name in _FAULT_FIELDS if name in document}
        own = {name: document[name] for name in _RULE_FIELDS if name in document}
        self._number += 1
        rule = Rule(id=self._number, fault=Fault(**options), **own)
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules."""
        self.rules.clear()

    def pick(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with this request: the first rule that fires decides."""
        for rule in self.rules:
            if rule.method not in ("", method) or not re.search(rule.path, path):
                continue
            rule.matched += 1
            if rule.matched <= rule.skip or (rule.times is not None and rule.fired >= rule.times):
                continue
            if rule.probability < 1 and self._random.random() >= rule.probability:
                continue
            rule.fired += 1
            return rule.fault
        return None

    def break_at(self, fault: Fault, length: int) -> int | None:
        """Return the byte of a body of that length at which the fault breaks it, None when it does not."""
        if not fault.per_megabyte:
            return fault.after_bytes if fault.after_bytes <= length else None
        # Exponential distances: the same chance in every megabyte.
        distance = self._random.expovariate(fault.per_megabyte) * 2**20
        return int(distance) if distance < length else None


_FAULT_FIELDS = [one.name for one in fields(Fault)]
_COUNTS = ("status", "after_bytes", "skip", "times")
_RULE_FIELDS = ["method", "path", "skip", "times", "probability"]


def _document_faults(document: Any) -> list[str]:
    if not isinstance(document, dict):
        return ["A fault rule is an object."]
    known = [*_FAULT_FIELDS, *_RULE_FIELDS]
    faults = [
        f"There is no {name!r}; there are {', '.join(known)}." for name in document if name not in known
    ]
    if document.get("kind") not in KINDS:
        faults.append(f"kind is one of {', '.join(KINDS)}.")
    for name in (*_COUNTS, "seconds", "per_megabyte", "speed", "probability"):
        value: Any = document.get(name, 0)
        forever = name == "times" and value is None
        number = isinstance(value, int if name in _COUNTS else (int, float)) and not isinstance(value, bool)
        if not forever and not (number and value >= 0):
            faults.append(f"{name} is a number, 0 or more.")
    if document.get("status", 503) not in range(200, 600):
        faults.append("status is between 200 and 599.")
    if document.get("retry_after", "none") not in ("seconds", "date", "none"):
        faults.append("retry_after is seconds, date or none.")
    if not isinstance(document.get("effect", False), bool):
        faults.append("effect is true or false.")
    faults += [
        f"{name} is text."
        for name in ("method", "path", "body")
        if not isinstance(document.get(name, ""), str)
    ]
    try:
        re.compile(str(document.get("path", "")))
    except re.error as error:
        faults.append(f"path is no regular expression: {error}.")
    return faults
