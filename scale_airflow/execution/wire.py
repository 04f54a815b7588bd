# SPDX-License-Identifier: Apache-2.0
"""Dataclasses that travel as JSON between the API server and its workers, read strictly."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from scale_airflow.errors import Fault, ScaleError

MessageT = TypeVar("MessageT", bound="Message")
Reader = Callable[[Any, str, list[Fault]], Any]


class MessageError(ScaleError, ValueError):
    """A message does not have the form that its type says; ``faults`` names every wrong place."""

    def __init__(self, kind: str, faults: list[Fault]):
        self.kind = kind
        self.faults = tuple(faults)
        super().__init__(kind, self.faults)

    def __str__(self) -> str:
        shown = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in self.faults[:20])
        return f"Invalid {self.kind}: {shown}"


class Message:
    """Base of the wire types: a frozen dataclass whose fields are its JSON keys.

    Every key is required and no other is allowed, so that two versions that don't understand each other
    notice at once. A trailing underscore of a field's name is not part of the key.
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the message as JSON-ready dictionaries, lists and plain values."""
        return {_key(name): _plain(getattr(self, name)) for name, _ in _members(type(self))}

    @classmethod
    def from_dict(cls: type[MessageT], document: object) -> MessageT:
        """Read a message from parsed JSON.

        :raises MessageError: naming every missing, unknown or wrongly typed key.
        """
        faults: list[Fault] = []
        value = _read_message(cls, document, "", faults)
        if faults or value is None:
            raise MessageError(cls.__name__, faults)
        return value


def _key(name: str) -> str:
    return name.rstrip("_")


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _members(cls: type[Message]) -> tuple[tuple[str, Reader], ...]:
    known = _MEMBERS.get(cls)
    if known is None:
        hints = get_type_hints(cls)
        known = tuple((member.name, _reader(hints[member.name])) for member in fields(cls))  # type: ignore[arg-type]
        _MEMBERS[cls] = known
    return known


def _read_message(cls: type[MessageT], document: object, path: str, faults: list[Fault]) -> MessageT | None:
    if not isinstance(document, dict):
        faults.append(Fault(path, f"is {_shown(document)}, must be an object"))
        return None
    known = {_key(name) for name, _ in _members(cls)}
    before = len(faults)
    faults.extend(
        Fault(f"{path}/{key}", f"is not a key of {cls.__name__}")
        for key in sorted(str(key) for key in document.keys() - known)
    )
    values = {}
    for name, read in _members(cls):
        key = _key(name)
        if key not in document:
            faults.append(Fault(f"{path}/{key}", "is missing"))
        else:
            values[name] = read(document[key], f"{path}/{key}", faults)
    return cls(**values) if len(faults) == before else None


def _reader(hint: Any) -> Reader:
    """Return the function that reads a value of the annotated type ``hint``."""
    origin = get_origin(hint)
    if hint is Any:
        return lambda value, path, faults: value
    if origin in (Union, types.UnionType):
        return _optional(hint)
    if origin is Literal:
        return _literal(get_args(hint))
    if origin is tuple:
        return _sequence(get_args(hint)[0])
    if origin is dict:
        return _mapping(get_args(hint)[1])
    if isinstance(hint, type) and issubclass(hint, Message):
        return lambda value, path, faults: _read_message(hint, value, path, faults)
    return _SCALARS[hint]


def _optional(hint: Any) -> Reader:
    (inner,) = [part for part in get_args(hint) if part is not type(None)]
    read = _reader(inner)
    return lambda value, path, faults: None if value is None else read(value, path, faults)


def _literal(allowed: tuple[Any, ...]) -> Reader:
    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if not isinstance(value, str) or value not in allowed:
            faults.append(Fault(path, f"is {_shown(value)}, must be one of {', '.join(allowed)}"))
        return value

    return read


def _sequence(item: Any) -> Reader:
    read_item = _reader(item)

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if not isinstance(value, (list, tuple)):
            faults.append(Fault(path, f"is {_shown(value)}, must be an array"))
            return ()
        return tuple(read_item(entry, f"{path}/{index}", faults) for index, entry in enumerate(value))

    return read


def _mapping(item: Any) -> Reader:
    read_item = _reader(item)

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            faults.append(Fault(path, f"is {_shown(value)}, must be an object"))
            return {}
        return {key: read_item(entry, f"{path}/{key}", faults) for key, entry in value.items()}

    return read


def _read_text(value: Any, path: str, faults: list[Fault]) -> Any:
    if not isinstance(value, str):
        faults.append(Fault(path, f"is {_shown(value)}, must be a string"))
    elif "\0" in value:
        faults.append(Fault(path, "contains a NUL character"))
    return value


def _read_integer(value: Any, path: str, faults: list[Fault]) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        faults.append(Fault(path, f"is {_shown(value)}, must be an integer"))
    return value


def _read_number(value: Any, path: str, faults: list[Fault]) -> Any:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        faults.append(Fault(path, f"is {_shown(value)}, must be a finite number"))
        return value
    return float(value)


def _read_boolean(value: Any, path: str, faults: list[Fault]) -> Any:
    if not isinstance(value, bool):
        faults.append(Fault(path, f"is {_shown(value)}, must be true or false"))
    return value


def _shown(value: Any) -> str:
    # Only the type: a message may carry a token.
    return "null" if value is None else f"a {type(value).__name__}"


_SCALARS: dict[Any, Reader] = {
    str: _read_text,
    int: _read_integer,
    float: _read_number,
    bool: _read_boolean,
}

_MEMBERS: dict[Any, tuple[tuple[str, Reader], ...]] = {}
