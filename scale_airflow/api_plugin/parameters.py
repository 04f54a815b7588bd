# SPDX-License-Identifier: Apache-2.0
"""Types of query and path parameters, with the rules that all endpoints share (``scale-api.md``).

Each is a type for an endpoint's signature; FastAPI gathers every wrong parameter of a request into one 400
(a wrong one in the path is 404). An empty parameter counts as not given.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from dateutil.parser import isoparse
from dateutil.relativedelta import relativedelta
from fastapi import Path, Query
from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from scale_airflow.services.lookup import MAX_ID
from scale_airflow.store.base import utcnow

_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,5})M)?(?:(?P<weeks>\d{1,5})W)?"
    r"(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,10}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def identifier(value: Any) -> Any:
    """Read a whole number of at most 64 bits.

    :raises ValueError: for anything else.
    """
    text = str(value).strip()
    if not _WHOLE.fullmatch(text) or not -MAX_ID <= int(text) <= MAX_ID:
        raise ValueError("This must be a whole number of at most 64 bits.")
    return int(text)


def flag(value: Any) -> Any:
    """Read a boolean: true, t, 1, false, f or 0 in any case.

    :raises ValueError: for anything else.
    """
    match str(value).strip().lower():
        case "true" | "t" | "1":
            return True
        case "false" | "f" | "0":
            return False
        case "":
            return None
    raise ValueError("This must be true or false (or t, f, 1, 0).")


def moment(value: Any) -> Any:
    """Read an ISO-8601 datetime with its zone, or an ISO-8601 duration, which means now minus it.

    :raises ValueError: for anything else, a datetime without a zone included.
    """
    if isinstance(value, datetime):
        return value
    text = str(value).strip()
    if not text:
        return None
    if text.upper().startswith("P"):
        return _ago(text.upper())
    try:
        # In an address a "+" that was not escaped arrives as a blank.
        read = isoparse(text.replace(" ", "+") if "T" in text else text)
    except (ValueError, OverflowError):
        raise ValueError(
            "This must be an ISO-8601 datetime such as 2015-01-01T00:00:00Z, or a duration such as PT3H0M0S."
        ) from None
    if read.tzinfo is None:
        raise ValueError("This datetime needs its zone: Z or an offset such as +02:00 at its end.")
    try:
        return read.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("This datetime is outside of the years 1 to 9999.") from None


def _ago(text: str) -> datetime:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("This must be an ISO-8601 duration such as PT3H0M0S or P7D.")
    parts = {name: float(number) for name, number in match.groupdict(default="0").items()}
    months = int(parts.pop("years") * 12 + parts.pop("months"))
    try:
        return utcnow() - relativedelta(months=months) - timedelta(**parts)
    except (OverflowError, ValueError):
        raise ValueError("This duration reaches back before the year 1.") from None


def _absent_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _page(value: Any) -> Any:
    number = 1 if value == "" else identifier(value)
    if number < 1:
        raise ValueError("Pages are counted from 1.")
    if number > 10**12:
        raise ValueError("There are not that many pages.")
    return number


def _page_size(value: Any) -> Any:
    number = 100 if value == "" else identifier(value)
    if not 1 <= number <= 1000:
        raise ValueError("A page has 1 to 1000 results.")
    return number


def _lines(value: Any) -> Any:
    if value == "":
        return None
    number = identifier(value)
    if not 0 <= number <= 10**6:
        raise ValueError("This must be a number of lines, at most a million.")
    return number


def _integer(minimum: int | None = None, **more: Any) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "integer", "format": "int64", **more}
    if minimum is not None:
        schema["minimum"] = minimum
    return WithJsonSchema(schema)


_MOMENT_SCHEMA = WithJsonSchema({"type": "string", "examples": ["2015-01-01T00:00:00Z", "PT3H0M0S"]})
_FLAG_SCHEMA = WithJsonSchema({"type": "boolean"})

Moment = Annotated[datetime | None, BeforeValidator(moment), _MOMENT_SCHEMA]
Flag = Annotated[bool | None, BeforeValidator(flag), _FLAG_SCHEMA]
Text = Annotated[str | None, BeforeValidator(_absent_if_empty), WithJsonSchema({"type": "string"})]
Page = Annotated[int, BeforeValidator(_page), _integer(1, default=1)]
PageSize = Annotated[int, BeforeValidator(_page_size), _integer(1, maximum=1000, default=100)]
Lines = Annotated[int | None, BeforeValidator(_lines), _integer(0, maximum=10**6)]
Identifier = Annotated[int, BeforeValidator(identifier), _integer()]

Ids = Annotated[list[Identifier], Query()]
"""A repeatable parameter of identifiers; an empty list means no filter."""

Names = Annotated[list[str], Query()]
"""A repeatable parameter of texts; an empty list means no filter."""

PathId = Annotated[Identifier, Path(description="The unique identifier.")]
"""An identifier in the path; what can't be one is 404."""


class OneOf:
    """Annotates a parameter that must be one of these texts: ``Annotated[str | None, OneOf("A", "B")]``."""

    def __init__(self, *allowed: str):
        self.allowed = allowed

    def _check(self, value: Any) -> Any:
        if value == "":
            return None
        if value not in self.allowed:
            raise ValueError(f"This must be one of {', '.join(self.allowed)}.")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic how to check a value."""
        return no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell the OpenAPI document which values there are."""
        return {"type": "string", "enum": list(self.allowed)}
