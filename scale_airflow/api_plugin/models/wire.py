# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas and examples of the wire types that API server and workers speak in, read off the types."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from scale_airflow.execution.wire import Message

Schema = dict[str, Any]

_SCALARS: Mapping[Any, tuple[str, Any]] = {
    str: ("string", "text"),
    int: ("integer", 1),
    float: ("number", 1.0),
    bool: ("boolean", False),
}
_EXAMPLES: Mapping[str, Any] = {
    "dag_id": "scale_recipe.terrain.1_0_0.a83bc4a7.r1",
    "run_id": "scale_recipe_12",
    "task_id": "hillshade",
    "map_index": -1,
    "task_instance_id": "01980b86-6f0e-7c3a-8f2b-0d7c5f4a9e11",
    "hostname": "worker-1",
    "agent_id": "037dceab-fd1a-4172-937d-6c1b02374361",
    "media_type": "image/png",
    "file_name": "scene.png",
    "data": "eJzLSM3JyVcozy/KSQEAGgsEXQ==",
    "sequence": 0,
}
"""Examples of fields by their names."""


def schema_of(message: type[Message]) -> Schema:
    """Return the JSON Schema of a message: every key is required and no other is allowed."""
    hints = get_type_hints(message)
    properties = {_key(each.name): _schema(hints[each.name]) for each in fields(message)}  # type: ignore[arg-type]
    return {
        "title": message.__name__,
        "type": "object",
        "description": inspect.cleandoc(message.__doc__ or "").replace("``", "`"),
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def example_of(message: type[Message]) -> dict[str, Any]:
    """Return an example of a message."""
    hints = get_type_hints(message)
    return {
        _key(each.name): _EXAMPLES.get(each.name, _example(hints[each.name]))
        for each in fields(message)  # type: ignore[arg-type]
    }


def _key(name: str) -> str:
    return name.rstrip("_")


def _schema(hint: Any) -> Schema:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [*(_schema(part) for part in parts if part is not type(None)), {"type": "null"}]}
    if origin is Literal:
        return {"type": "string", "enum": list(parts)}
    if origin is tuple:
        return {"type": "array", "items": _schema(parts[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(parts[1])}
    if isinstance(hint, type) and issubclass(hint, Message):
        return schema_of(hint)
    return {"type": _SCALARS[hint][0]} if hint in _SCALARS else {}


def _example(hint: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None
    if origin is Literal:
        return parts[0]
    if origin is tuple:
        return [_example(parts[0])]
    if isinstance(hint, type) and issubclass(hint, Message):
        return example_of(hint)
    return _SCALARS[hint][1] if hint in _SCALARS else {}
