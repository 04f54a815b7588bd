# SPDX-License-Identifier: Apache-2.0
"""What models are made of: kinds of fields, and objects that have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

_PREFIX = "#/components/schemas/"


@dataclass(frozen=True)
class Model:
    """An object in an answer.

    :param name: its name in the OpenAPI document.
    :param fields: the schema of each field.
    :param optional: fields that may be missing.
    """

    name: str
    description: str
    fields: Mapping[str, Schema]
    optional: frozenset[str] = frozenset()

    def schema(self) -> Schema:
        """Return its JSON Schema."""
        return {
            "title": self.name,
            "type": "object",
            "description": self.description,
            "properties": dict(self.fields),
            "required": [name for name in self.fields if name not in self.optional],
        }

    def example(self) -> dict[str, Any]:
        """Return an example, of the examples of the fields."""
        return {name: example_of(schema) for name, schema in self.fields.items()}


MODELS: dict[str, Model] = {}
"""Every model by its name."""


def model(
    name: str,
    description: str,
    fields: Mapping[str, Schema],
    *,
    base: Model | None = None,
    optional: Collection[str] = (),
) -> Model:
    """Make a model, and put it into :data:`MODELS`.

    :param base: a model whose fields it has too; those of ``fields`` come in their place.
    :raises ValueError: if there is one of this name.
    """
    if name in MODELS:
        raise ValueError(f"There are two models named {name}.")
    inherited = base.fields if base is not None else {}
    missing = base.optional if base is not None else frozenset()
    made = Model(name, description, {**inherited, **fields}, missing | frozenset(optional))
    MODELS[name] = made
    return made


def of(part: Model, description: str = "") -> Schema:
    """Return a field that holds a model."""
    return {"$ref": _PREFIX + part.name, **({"description": description} if description else {})}


def many(part: Model | Schema, description: str) -> Schema:
    """Return a field that holds a list."""
    items = of(part) if isinstance(part, Model) else part
    return {"type": "array", "items": items, "description": description}


def maybe(part: Model | Schema, description: str = "") -> Schema:
    """Return a field that may be null."""
    if isinstance(part, Model):
        return {"anyOf": [of(part), {"type": "null"}], "description": description}
    said = {"description": description} if description else {}
    return {**part, "type": [part["type"], "null"], **said}


def text(description: str, example: str = "", choices: Collection[str] = ()) -> Schema:
    """Return a field that holds a string."""
    some = {"enum": list(choices)} if choices else {}
    shown = example or next(iter(choices), "")
    return {"type": "string", **some, "description": description, "examples": [shown]}


def number(description: str, example: float = 0.0) -> Schema:
    """Return a field that holds a number."""
    return {"type": "number", "description": description, "examples": [example]}


def whole(description: str, example: int = 1) -> Schema:
    """Return a field that holds a whole number."""
    return {"type": "integer", "format": "int64", "description": description, "examples": [example]}


def flag(description: str, *, example: bool = False) -> Schema:
    """Return a field that holds true or false."""
    return {"type": "boolean", "description": description, "examples": [example]}


def moment(description: str) -> Schema:
    """Return a field that holds a moment."""
    example = "2015-09-10T14:48:08.920Z"
    return {"type": "string", "format": "date-time", "description": description, "examples": [example]}


def moment_or_null(description: str) -> Schema:
    """Return a field that holds a moment, or null before it has come."""
    return {**maybe(moment(description)), "examples": [None]}


def document(description: str, example: Any = None) -> Schema:
    """Return a field that holds a document of its own, as it was given."""
    return {"type": "object", "description": description, "examples": [example or {}]}


def reference(description: str) -> Schema:
    """Return a field that names something by its identifier alone."""
    return {
        "type": "object",
        "properties": {"id": {"type": "integer", "format": "int64"}},
        "required": ["id"],
        "description": description,
        "examples": [{"id": 1}],
    }


def page(part: Model) -> Model:
    """Return the model of a list of these."""
    name = f"{part.name}List"
    if name in MODELS:
        return MODELS[name]
    url = {"type": ["string", "null"], "format": "uri", "examples": [None]}
    only = "null if there is none, and after a change, which is not to be done once more"
    return model(
        name,
        f"A page of a list: {part.description}",
        {
            "count": whole("How many there are on all pages."),
            "next": {**url, "description": f"Where the next page is; {only}."},
            "previous": {**url, "description": f"Where the previous page is; {only}."},
            "results": many(part, "Those on this page."),
        },
    )


def example_of(schema: Schema) -> Any:
    """Return an example of what keeps to a schema of these kinds."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return MODELS[schema["$ref"].removeprefix(_PREFIX)].example()
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0])
    if schema.get("type") == "array":
        return [example_of(schema["items"])]
    return {name: example_of(part) for name, part in schema.get("properties", {}).items()}
