# SPDX-License-Identifier: Apache-2.0
"""Collect the faults of a document: bounded in number, told in plain sentences, in document order."""

from __future__ import annotations

import difflib
import heapq
import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from scale_airflow.errors import Fault, InvalidDocument

MAX_FAULTS = 200
"""More faults than this are counted, not described: nobody reads them, and describing costs time."""

MAX_COUNTED = 5_000
"""After so many more nobody counts on: a document of millions of faults would keep a server busy."""

MAX_WARNINGS = 200
"""More warnings than this about one document are left out."""

_MAX_QUOTED = 80
_MAX_CANDIDATES = 100
_MAX_LISTED = 20
_MAX_NAME = 100


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer (RFC 6901) made of these member names and array indexes."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def quote(text: str) -> str:
    """Return ``text`` in double quotes, escaped like JSON and cut after 80 characters."""
    shown = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…"
    quoted = json.dumps(shown, ensure_ascii=False)
    # A lone surrogate could not be written to a terminal, a log or a response.
    return quoted if quoted.isascii() else quoted.encode("utf-8", "backslashreplace").decode()


def quote_all(names: Iterable[str]) -> str:
    """Return the names quoted and joined for a sentence; more than twenty are only counted."""
    known = list(names)
    if not known:
        return "none"
    shown = ", ".join(quote(name) for name in known[:_MAX_LISTED])
    return shown + (f" and {len(known) - _MAX_LISTED} more" if len(known) > _MAX_LISTED else "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` was probably meant to be, or None if none is near."""
    if len(name) > _MAX_NAME:
        return None
    by_folded: dict[str, str] = {}
    for candidate in known:
        if len(candidate) <= _MAX_NAME:
            by_folded.setdefault(candidate.casefold(), candidate)
        if len(by_folded) == _MAX_CANDIDATES:
            break
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def with_choice(message: str, what: str, name: str, known: Collection[str]) -> str:
    """Return a message about a name that does not exist, with what does exist and what was probably meant.

    :param message: whole sentences.
    :param what: the things with such names, e.g. ``"inputs"``.
    :param known: the names that exist; of very many only the first in the alphabet are considered.
    """
    first = heapq.nsmallest(_MAX_CANDIDATES, known)
    if not first:
        return f"{message} There are no {what}."
    shown = ", ".join(quote(each) for each in first[:_MAX_LISTED])
    more = f" and {len(known) - _MAX_LISTED} more" if len(known) > _MAX_LISTED else ""
    meant = nearest(name, first)
    return f"{message} Known {what}: {shown}{more}." + (f" Did you mean {quote(meant)}?" if meant else "")


def describe(value: object, *, hidden: bool = False) -> str:
    """Say what a JSON value is, in a few words whatever its size.

    :param hidden: name only the type: the value may be a secret.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a string" if hidden else f"the string {quote(value)}"
    if isinstance(value, (int, float)):
        # Python refuses to print integers of more than 4300 digits.
        if hidden or (isinstance(value, int) and value.bit_length() > 128):
            return "a number"
        return f"the number {value}"
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return "an array" if value else "an empty array"
    return f"a Python {type(value).__name__}"


class Faults:
    """The faults found so far in one document."""

    def __init__(self) -> None:
        self.found: list[Fault] = []
        self.unlisted = 0

    def __bool__(self) -> bool:
        return bool(self.found)

    @property
    def are_enough(self) -> bool:
        """Say whether looking for more is pointless."""
        return self.unlisted >= MAX_COUNTED

    def add(
        self, path: str, rule: str, message: str, *, near: tuple[str, Iterable[str]] | None = None
    ) -> None:
        """Record one fault.

        :param path: JSON pointer of the offending value.
        :param rule: identifier of the broken rule, listed in :mod:`scale_airflow.definitions.rules`.
        :param message: one or more whole sentences.
        :param near: a wrong name and the names that exist, for "Did you mean …?".
        """
        if len(self.found) >= MAX_FAULTS:
            self.unlisted += 1
            return
        if near is not None and (meant := nearest(*near)) is not None:
            message = f"{message} Did you mean {quote(meant)}?"
        if not path.isascii():
            # A name with a lone surrogate could not be sent or stored.
            path = path.encode("utf-8", "backslashreplace").decode()
        self.found.append(Fault(path, message, rule))

    def add_unknown(
        self, path: str, rule: str, message: str, *, what: str, name: str, known: Collection[str]
    ) -> None:
        """Record a name that does not exist; see :func:`with_choice`."""
        full = len(self.found) >= MAX_FAULTS
        self.add(path, rule, message if full else with_choice(message, what, name, known))

    def extend(self, faults: Iterable[Fault], prefix: str = "") -> None:
        """Take over the faults of a document that stands inside this one at ``prefix``."""
        for fault in faults:
            if len(self.found) >= MAX_FAULTS:
                self.unlisted += 1
            else:
                self.found.append(Fault(prefix + fault.path, fault.message, fault.rule))

    def in_order(self, document: object) -> tuple[Fault, ...]:
        """Return the faults in the order of their places in ``document``, each once."""
        # A document inside another one is looked at twice for what no text may contain.
        ordered = sorted(dict.fromkeys(self.found), key=_Places(document).key)
        if self.unlisted:
            number = f"{self.unlisted} or" if self.are_enough else f"{self.unlisted}"
            more = f"{number} more {'faults are' if self.unlisted > 1 else 'fault is'} not listed."
            ordered.append(Fault("", more, "document.too-many-faults"))
        return tuple(ordered)

    def refuse(self, kind: str, document: object) -> None:
        """Raise :class:`InvalidDocument` if there are faults.

        :param kind: the document's kind, e.g. ``"job-interface"``; shown as "job interface".
        """
        if self.found:
            raise InvalidDocument(kind.replace("-", " "), self.in_order(document))


class _Places:
    """Where pointers stand in a document, as keys to sort by."""

    def __init__(self, document: object):
        self._document = document
        self._members: dict[int, dict[str, int]] = {}

    def key(self, fault: Fault) -> tuple[int, ...]:
        place: list[int] = []
        value = self._document
        for part in fault.path.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                members = self._members.setdefault(id(value), {})
                if not members:
                    members.update({member: index for index, member in enumerate(value)})
                place.append(members.get(name, len(members)))
                value = value.get(name)
            elif isinstance(value, Sequence) and not isinstance(value, str) and name.isdecimal():
                index = int(name)
                place.append(index)
                value = value[index] if index < len(value) else None
            else:
                break
        return tuple(place)
