# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON objects of Rescale's answers: tolerant of what is new, strict about what is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from scale_airflow.errors import RescaleBadAnswer
from scale_airflow.rescale.moments import parse_moment

# Exponents can name numbers that no memory holds.
_MOST_DIGITS = 30
# The key under which a file lies encrypted in Rescale's store. Nobody here has a use for it.
_SECRET_FIELDS = frozenset({"encodedencryptionkey"})


def without_secrets(value: Any) -> Any:
    """Return JSON without the fields that must never reach a log, an error or XCom, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: without_secrets(each)
            for key, each in value.items()
            if str(key).replace("_", "").lower() not in _SECRET_FIELDS
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(each) for each in value]
    return value


def parse_json(body: bytes) -> Any:
    """Return the JSON of an answer, without its secret fields.

    :raises ValueError: if it is no JSON.
    """
    try:
        return without_secrets(json.loads(body.decode("utf-8"), parse_constant=_no_number))
    except RecursionError:
        raise ValueError("too deep") from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


@dataclass(frozen=True)
class Documented:
    """What an answer holds, typed.

    :param document: the whole JSON of the answer, also what is not known here, without its secrets.
    """

    document: dict[str, Any] = field(default_factory=dict, repr=False, compare=False, kw_only=True)


class Fields:
    """The fields of one object of an answer.

    What callers can't do without (ids, statuses, lists) has to be there; the rest is read where it can be.

    :param kind: what the object is, for errors: ``"job"``.
    :raises RescaleBadAnswer: if it is no object.
    """

    def __init__(self, document: Any, kind: str):
        if not isinstance(document, Mapping):
            raise RescaleBadAnswer(f"Rescale's answer has {_kind_of(document)} where a {kind} should be.")
        self.document: dict[str, Any] = without_secrets(document)
        self._kind = kind

    def text(self, name: str) -> str:
        """Return a text that must be there; a number counts (ids are either).

        :raises RescaleBadAnswer: if it is not there.
        """
        value = self.document.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
        raise self.wrong(name, "a text")

    def text_or(self, name: str, default: str = "") -> str:
        """Return a text, or the default where there is none."""
        value = self.document.get(name)
        return default if value is None or isinstance(value, (dict, list)) else str(value)

    def number(self, name: str) -> int | None:
        """Return a whole number, None where there is none (or something else: the document still has it)."""
        value = decimal_of(self.document.get(name))
        return int(value) if value is not None and value == int(value) else None

    def amount(self, name: str) -> Decimal | None:
        """Return an exact number (prices come as texts), None where there is none."""
        return decimal_of(self.document.get(name))

    def flag(self, name: str) -> bool:
        """Return whether something is true."""
        return self.document.get(name) is True

    def moment(self, name: str) -> datetime | None:
        """Return a point in time, None where there is none.

        One more form of dates must not keep anybody from following a job: what can't be read is None.
        """
        value = self.document.get(name)
        try:
            return parse_moment(value) if isinstance(value, str) else None
        except RescaleBadAnswer:
            return None

    def rows(self, name: str) -> list[Any]:
        """Return a list, empty where there is none.

        :raises RescaleBadAnswer: if it is something else.
        """
        value = self.document.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise self.wrong(name, "a list")

    def object(self, name: str) -> dict[str, Any]:
        """Return an object, empty where there is none."""
        value = self.document.get(name)
        return value if isinstance(value, dict) else {}

    def wrong(self, name: str, wanted: str) -> RescaleBadAnswer:
        """Return the error for a field."""
        found = _kind_of(self.document[name]) if name in self.document else "nothing"
        return RescaleBadAnswer(
            f"Rescale's answer has a {self._kind} whose {name!r} is {found}, not {wanted}."
        )


def decimal_of(value: Any) -> Decimal | None:
    """Return an exact number of sensible size, None for anything else."""
    if value is None or isinstance(value, (bool, dict, list)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _MOST_DIGITS else None


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
