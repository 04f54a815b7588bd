# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: read strictly as JSON, their fields checked all at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from scale_airflow.definitions.documents import load_json, nested
from scale_airflow.definitions.faults import Faults, describe, nearest, pointer, quote
from scale_airflow.errors import Fault, InvalidDocument, InvalidRequest, listed
from scale_airflow.services.lookup import MAX_ID

_SMALL = 64 * 1024
_MOST_TOLD = 20


async def read_json(request: Request) -> Any:
    """Read the body as one JSON document.

    :raises InvalidRequest: if it is empty or no JSON: NaN, a field given twice, half a surrogate pair, a
        NUL character and nesting deeper than 64 levels are refused as well.
    """
    body = await request.body()
    if not body.strip():
        raise InvalidRequest("The request needs a body: a JSON document.")
    try:
        if len(body) <= _SMALL:
            return load_json(body)
        return await run_in_threadpool(load_json, body)
    except InvalidDocument as error:
        raise InvalidRequest(f"The body can't be read: {listed(error.faults)}", error.faults) from None


JsonBody = Annotated[Any, Depends(read_json)]


@dataclass(frozen=True, slots=True)
class Field:
    """What a field of a body must be.

    :param kind: ``integer``, ``number``, ``boolean``, ``string``, ``object``, ``array`` or, for any value
        whatever (checked elsewhere), ``any``.
    :param required: whether it must be there.
    :param nullable: whether it may be null.
    :param description: what it means; for the OpenAPI document.
    :param minimum: the least that a number may be; ``maximum`` is the most.
    :param choices: the only strings that it may be; all if there are none.
    :param longest: how many characters a string may have; one that has this limit may not be blank either.
    :param items: what each item of an array must be.
    :param document: reads a value that is a document of its own, and raises InvalidDocument; see
        :func:`check_fields`.
    """

    kind: str
    required: bool = False
    nullable: bool = False
    description: str = ""
    example: Any = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    longest: int | None = None
    items: Field | None = None
    document: Callable[[Any], object] | None = None


_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "string": ("a string", (str,)),
    "object": ("an object", (dict,)),
    "array": ("an array", (list,)),
}


def check_fields(
    body: object, fields: Mapping[str, Field], *, ignored: Collection[str] = (), any_of: bool = False
) -> dict[str, Any]:
    """Return the known fields of a body after checking all of them.

    A field's document is read here only if something else is wrong, so that its faults are told as well:
    the service that is given it reads it anyhow.

    :param ignored: names of fields that clients send and nobody needs.
    :param any_of: whether at least one of the fields must be there.
    :raises InvalidRequest: with every fault: not an object, unknown fields, missing ones, wrong values.
    """
    given = require_object(body)
    faults = field_faults(given, fields, ignored=ignored)
    if any_of and not faults and not any(name in given for name in fields):
        faults.add("", "", f"At least one field must be given: {', '.join(fields)}.")
    refuse(faults, given)
    return {name: given[name] for name in fields if name in given}


def require_object(body: object) -> dict[str, Any]:
    """Return a body that is an object.

    :raises InvalidRequest: if it is none.
    """
    if not isinstance(body, dict):
        message = f"The body must be an object, but it is {describe(body)}."
        raise InvalidRequest(message, [Fault("", message)])
    return body


def field_faults(
    given: Mapping[str, Any], fields: Mapping[str, Field], *, ignored: Collection[str] = ()
) -> Faults:
    """Return what is wrong with the fields of a body; the caller may add to it (see :func:`check_fields`)."""
    faults = Faults()
    for name in given:
        if name not in fields and name not in ignored:
            near = nearest(name, fields)
            hint = f"Did you mean {quote(near)}?" if near else f"The fields are: {', '.join(fields)}."
            faults.add(pointer(name), "", f"There is no field {quote(name)}. {hint}")
    for name, field in fields.items():
        if name in given:
            _check_value(f"The field {quote(name)}", pointer(name), given[name], field, faults)
        elif field.required:
            faults.add(pointer(name), "", f"The field {quote(name)} is required.")
    if faults:
        for name, field in fields.items():
            if field.document is not None and name in given and _wrong(given[name], field) is None:
                nested(field.document, given[name], pointer(name), faults)
    return faults


def refuse(faults: Faults, body: object) -> None:
    """Raise :class:`InvalidRequest` with what is wrong with a body, in the body's order, if anything is."""
    if faults:
        found = faults.in_order(body)
        raise InvalidRequest(" ".join(fault.message for fault in found[:_MOST_TOLD]), found)


@contextmanager
def standing_in(name: str) -> Iterator[None]:
    """Let the pointers of a document's faults begin at the body, of which the document is this field."""
    try:
        yield
    except InvalidDocument as error:
        faults = [Fault(pointer(name) + fault.path, fault.message, fault.rule) for fault in error.faults]
        raise InvalidDocument(error.kind, faults) from None


def _check_value(what: str, place: str, value: Any, field: Field, faults: Faults) -> None:
    if (wrong := _wrong(value, field)) is not None:
        faults.add(place, "", f"{what} must be {wrong}")
    elif field.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            if faults.are_enough:
                return
            _check_value("This", f"{place}/{index}", item, field.items, faults)


def _wrong(value: Any, field: Field) -> str | None:
    """Return what the value must be, and what it is instead; None if it is right."""
    if field.kind == "any" or (value is None and field.nullable):
        return None
    _, types = _KINDS[field.kind]
    fits = isinstance(value, types) and (field.kind == "boolean" or not isinstance(value, bool))
    if fits and isinstance(value, int) and not isinstance(value, bool):
        least = -MAX_ID if field.minimum is None else field.minimum
        fits = least <= value <= (MAX_ID if field.maximum is None else field.maximum)
    elif fits and isinstance(value, str):
        fits = not field.choices or value in field.choices
        fits = fits and (field.longest is None or (bool(value.strip()) and len(value) <= field.longest))
    return None if fits else f"{_wanted(field)}, but it is {describe(value)}."


def _wanted(field: Field) -> str:
    """Say in words what a field must be."""
    words, _ = _KINDS[field.kind]
    if field.choices:
        first = ", ".join(field.choices[:-1])
        return f"{first} or {field.choices[-1]}" if first else field.choices[-1]
    if field.longest is not None:
        return f"{words} of 1 to {field.longest} characters that is not blank"
    if field.minimum is not None and field.maximum is not None:
        return f"{words} from {field.minimum} to {field.maximum}"
    return f"{words} of at most 64 bits" if field.kind == "integer" else words


def documented(fields: Mapping[str, Field], **more: Any) -> dict[str, Any]:
    """Return what a route adds to the OpenAPI document (``openapi_extra``) about its body."""
    schema = {**object_of(fields), **more}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def object_of(fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the JSON Schema of an object with these fields."""
    properties: dict[str, Any] = {}
    for name, field in fields.items():
        properties[name] = _schema(field)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }


def _schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {} if field.kind == "any" else {"type": field.kind}
    if field.nullable and schema:
        schema["type"] = [field.kind, "null"]
    if field.choices:
        schema["enum"] = [*field.choices, None] if field.nullable else list(field.choices)
    limits = {"minimum": field.minimum, "maximum": field.maximum, "maxLength": field.longest}
    schema |= {word: limit for word, limit in limits.items() if limit is not None}
    if field.longest is not None:
        schema["pattern"] = r"\S"
    if field.items is not None:
        schema["items"] = _schema(field.items)
    if field.description:
        schema["description"] = field.description
    if field.example is not None:
        schema["examples"] = [field.example]
    return schema
