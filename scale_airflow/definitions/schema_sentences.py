# SPDX-License-Identifier: Apache-2.0
"""Say in plain sentences what the jsonschema library finds wrong with a document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from jsonschema import Draft202012Validator, ValidationError, validators

from scale_airflow.definitions.faults import Faults, describe, pointer, quote, quote_all

# jsonschema's ValidationError, whose fields have as many types as JSON Schema has keywords.
_Error: TypeAlias = Any

_MAX_PRINTED_BITS = 10_000
_TYPES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "true or false",
    "null": "null",
    "integer": "a whole number",
    "number": "a number",
}


class _Told(NamedTuple):
    """One fault of one value, or of a member of it."""

    rule: str
    message: str
    member: tuple[str, ...] = ()
    near: tuple[str, Iterable[str]] | None = None


def explain(schema: Mapping[str, Any], document: Any, faults: Faults) -> None:
    """Add every fault that a document has under a schema.

    :param schema: with keywords that :func:`scale_airflow.definitions.schema_check.compile_schema` accepts.
    """
    validator = _Validator(schema)
    before: _Error = None
    for error in validator.iter_errors(_printable(document)):
        if faults.are_enough:
            return
        # All missing fields are told with the first, and of a value of a wrong type no more than that.
        if not _repeats(before, error) and (error.validator == "type" or _has_its_type(validator, error)):
            for told in _SENTENCES[error.validator](error):
                place = pointer(*error.absolute_path, *told.member)
                faults.add(place, told.rule, told.message, near=told.near)
        before = error


def _printable(value: Any) -> Any:
    """Return a copy without numbers of more than 3000 digits: the library prints values, Python does not."""
    if isinstance(value, dict):
        return {name: _printable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, int) and value.bit_length() > _MAX_PRINTED_BITS:
        return (1 << _MAX_PRINTED_BITS) * (1 if value > 0 else -1)
    return value


def _repeats(before: _Error, error: _Error) -> bool:
    return (
        before is not None
        and error.validator == before.validator == "required"
        and error.schema is before.schema
        and error.instance is before.instance
    )


def _has_its_type(validator: Any, error: _Error) -> bool:
    types = error.schema.get("type")
    names = [types] if isinstance(types, str) else types
    return names is None or any(validator.is_type(error.instance, name) for name in names)


def _type(error: _Error) -> Iterator[_Told]:
    names = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
    expected = " or ".join(_TYPES[name] for name in names)
    found = describe(error.instance, hidden=bool(error.schema.get("writeOnly")))
    yield _Told("document.wrong-type", f"This must be {expected}, but it is {found}.")


def _not_allowed(error: _Error) -> Iterator[_Told]:
    name = error.absolute_path[-1] if error.absolute_path else "The document"
    reason = error.schema.get("description", "")
    yield _Told("document.unknown-field", f"{name} can't be given here. {reason}".strip())


def _choice(error: _Error) -> Iterator[_Told]:
    allowed = error.validator_value if error.validator == "enum" else [error.validator_value]
    several = "one of " if len(allowed) > 1 else ""
    message = f"This must be {several}{quote_all(allowed)}, but it is {describe(error.instance)}."
    near = (error.instance, allowed) if isinstance(error.instance, str) else None
    yield _Told("document.value-not-allowed", message, near=near)


def _pattern(error: _Error) -> Iterator[_Told]:
    wanted = error.schema.get("description", f"It must match the pattern {error.validator_value}.")
    yield _Told("document.pattern", f"{quote(error.instance)} is not allowed here. {wanted}")


def _min_length(error: _Error) -> Iterator[_Told]:
    least = error.validator_value
    needed = "not be empty" if least == 1 else f"have at least {least} characters"
    yield _Told("document.too-short", f"This must {needed}.")


def _max_length(error: _Error) -> Iterator[_Told]:
    message = f"This may have at most {error.validator_value} characters, but has {len(error.instance)}."
    yield _Told("document.too-long", message)


def _min_items(error: _Error) -> Iterator[_Told]:
    least = error.validator_value
    items = "item" if least == 1 else "items"
    yield _Told(
        "document.too-few-items", f"This must have at least {least} {items}, but has {len(error.instance)}."
    )


def _max_items(error: _Error) -> Iterator[_Told]:
    message = f"This may have at most {error.validator_value} items, but has {len(error.instance)}."
    yield _Told("document.too-many-items", message)


def _limit(rule: str, wanted: str) -> Callable[[_Error], Iterator[_Told]]:
    def sentence(error: _Error) -> Iterator[_Told]:
        found = describe(error.instance)
        yield _Told(rule, f"This {wanted} {error.validator_value}, but it is {found}.")

    return sentence


def _required(error: _Error) -> Iterator[_Told]:
    for name in error.validator_value:
        if name not in error.instance:
            yield _Told("document.missing-field", f"The required field {quote(name)} is missing.")


def _unknown_fields(error: _Error) -> Iterator[_Told]:
    known = error.schema.get("properties", {})
    offered = quote_all(name for name, rule in known.items() if rule is True or not rule.get("readOnly"))
    for name in error.instance:
        if name not in known:
            message = f"There is no field {quote(name)} here; the fields are {offered}."
            yield _Told("document.unknown-field", message, member=(name,), near=(name, known))


_SENTENCES: Mapping[str, Callable[[_Error], Iterator[_Told]]] = {
    "not": _not_allowed,
    "type": _type,
    "enum": _choice,
    "const": _choice,
    "pattern": _pattern,
    "minLength": _min_length,
    "maxLength": _max_length,
    "minItems": _min_items,
    "maxItems": _max_items,
    "minimum": _limit("document.too-small", "must be at least"),
    "exclusiveMinimum": _limit("document.too-small", "must be more than"),
    "maximum": _limit("document.too-large", "may be at most"),
    "required": _required,
    "additionalProperties": _unknown_fields,
}


def _whole_pattern(validator: Any, source: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword "pattern", where $ is the very end of the text."""
    ending = source[:-1] + r"\Z" if source.endswith("$") else source
    if isinstance(instance, str) and not re.search(ending, instance):
        yield ValidationError("does not match")


def _member_names(validator: Any, names: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword "propertyNames", where a fault's place is the member, not the object."""
    if isinstance(instance, dict):
        for name in instance:
            yield from validator.descend(name, names, path=name)


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"pattern": _whole_pattern, "propertyNames": _member_names},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)
