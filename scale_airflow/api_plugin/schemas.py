# SPDX-License-Identifier: Apache-2.0
"""The documents of this API's bodies in its OpenAPI document, from the schemas that check them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from scale_airflow.definitions.documents import schema


def documented_by(
    name: str, *, editing: bool = False, without: Collection[str] = (), example: Any = None
) -> dict[str, Any]:
    """Return what a route adds to the OpenAPI document (``openapi_extra``) about its body.

    :param name: the schema, e.g. ``"job-type-1.0"``.
    :param editing: whether every field is optional.
    :param without: fields that this body does not have.
    """
    whole = schema(name)
    shown = {key: value for key, value in _resolved(whole, whole).items() if not key.startswith("$")}
    shown["properties"] = {
        field: value
        for field, value in shown["properties"].items()
        if field not in without and not value.get("readOnly")
    }
    if editing:
        shown.pop("required", None)
    return body_of(shown, example)


def body_of(shown: dict[str, Any], example: Any = None) -> dict[str, Any]:
    """Return ``openapi_extra`` for a JSON body with this schema."""
    content: dict[str, Any] = {"schema": shown}
    if example is not None:
        content["example"] = example
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _resolved(part: Any, whole: Any) -> Any:
    """Put what ``$ref`` points at in its place: pointers into a schema mean nothing in the OpenAPI one."""
    if isinstance(part, list):
        return [_resolved(each, whole) for each in part]
    if not isinstance(part, dict):
        return part
    target = part.get("$ref")
    if isinstance(target, str):
        found = whole["$defs"][target.removeprefix("#/$defs/")]
        return {**_resolved(found, whole), **{key: part[key] for key in part if key != "$ref"}}
    return {key: _resolved(value, whole) for key, value in part.items()}


WARNED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The document is valid; the warnings say what should be known of it."}
}
"""``responses`` of a route that validates."""
