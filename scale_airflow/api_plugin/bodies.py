# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: read strictly as JSON, their fields checked all at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from scale_airflow.api_plugin.parameters import MAX_ID
from scale_airflow.definitions.documents import load_json
from scale_airflow.definitions.faults import describe, nearest, pointer, quote
from scale_airflow.errors import Fault, InvalidDocument, InvalidRequest

_SMALL = 64 * 1024


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
        told = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in error.faults[:20])
        raise InvalidRequest(f"The body can't be read: {told}", error.faults) from None


JsonBody = Annotated[Any, Depends(read_json)]


@dataclass(frozen=True, slots=True)
class Field:
    """What a field of a body must be.

    :param kind: ``integer``, ``number``, ``boolean``, ``string``, ``object``, ``array`` or, for any value
        whatever (checked elsewhere), ``any``.
    :param required: whether it must be there.
    :param nullable: whether it may be null.
    :param description: what it means; for the OpenAPI document.
    """

    kind: str
    required: bool = False
    nullable: bool = False
    description: str = ""
    example: Any = None


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

    :param ignored: names of fields that clients send and nobody needs.
    :param any_of: whether at least one of the fields must be there.
    :raises InvalidRequest: with every fault: not an object, unknown fields, missing ones, wrong types.
    """
    if not isinstance(body, dict):
        message = f"The body must be an object, but it is {describe(body)}."
        raise InvalidRequest(message, [Fault("", message)])
    faults = [_unknown(name, fields) for name in body if name not in fields and name not in ignored]
    for name, field in fields.items():
        if name not in body:
            if field.required:
                faults.append(Fault(pointer(name), f"The field {quote(name)} is required."))
        elif (wrong := _wrong(body[name], field)) is not None:
            faults.append(Fault(pointer(name), f"The field {quote(name)} must be {wrong}"))
    if any_of and not faults and not any(name in body for name in fields):
        faults.append(Fault("", f"At least one field must be given: {', '.join(fields)}."))
    if faults:
        raise InvalidRequest(" ".join(fault.message for fault in faults[:20]), faults)
    return {name: body[name] for name in fields if name in body}


def _unknown(name: str, fields: Collection[str]) -> Fault:
    near = nearest(name, fields)
    hint = f" Did you mean {quote(near)}?" if near else f" The fields are: {', '.join(fields)}."
    return Fault(pointer(name), f"There is no field {quote(name)}.{hint}")


def _wrong(value: Any, field: Field) -> str | None:
    """Return what the value must be, and what it is instead; None if it is right."""
    if field.kind == "any" or (value is None and field.nullable):
        return None
    words, types = _KINDS[field.kind]
    fits = isinstance(value, types) and (field.kind == "boolean" or not isinstance(value, bool))
    if not fits:
        return f"{words}, but it is {describe(value)}."
    if field.kind == "integer" and abs(value) > MAX_ID:
        return "a whole number of at most 64 bits."
    return None


def documented(fields: Mapping[str, Field], **more: Any) -> dict[str, Any]:
    """Return what a route adds to the OpenAPI document (``openapi_extra``) about its body."""
    properties: dict[str, Any] = {}
    for name, field in fields.items():
        kind: Any = {} if field.kind == "any" else {"type": field.kind}
        if field.nullable and kind:
            kind = {"type": [field.kind, "null"]}
        properties[name] = kind | ({"description": field.description} if field.description else {})
        if field.example is not None:
            properties[name]["examples"] = [field.example]
    schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
        **more,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
