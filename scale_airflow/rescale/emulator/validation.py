# SPDX-License-Identifier: Apache-2.0
"""Fields of a document, checked as Django REST Framework does: every fault at its place, all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

REQUIRED = "This field is required."
BLANK = "This field may not be blank."
NULL = "This field may not be null."
_KIND_NAMES = {dict: "dict", list: "list", str: "str", int: "int", float: "float", bool: "bool"}


class Fields:
    """Reads an object's fields; :attr:`errors` collects what is wrong, nested as the object is.

    :param document: the object, or what was sent instead of it.
    """

    def __init__(self, document: Any) -> None:
        self.errors: dict[str, Any] = {}
        self._document: Mapping[str, Any] = {}
        if isinstance(document, dict):
            self._document = document
        else:
            self._refuse_object(document)

    def _refuse_object(self, document: Any) -> None:
        self.errors["non_field_errors"] = [
            f"Invalid data. Expected a dictionary, but got {kind_name(document)}."
        ]

    def has(self, name: str) -> bool:
        """Tell whether the field was sent and is not null."""
        return self._document.get(name) is not None

    def raw(self, name: str) -> Any:
        """Return what was sent, None for nothing."""
        return self._document.get(name)

    def whole(self) -> dict[str, Any]:
        """Return the object as it was sent."""
        return dict(self._document)

    def fault(self, name: str, message: Any) -> None:
        """Add a fault of a field: a text, or the nested faults of an object or list."""
        if isinstance(message, str):
            self.errors.setdefault(name, []).append(message)
        else:
            self.errors[name] = message

    def text(self, name: str, default: str | None = None, *, longest: int = 255, blank: bool = False) -> str:
        """Return a text; without a default it is required.

        :param blank: whether it may be empty.
        """
        value = self._document.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            self.fault(name, NULL if name in self._document else REQUIRED)
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.fault(name, "Not a valid string.")
        elif not str(value).strip() and not blank:
            self.fault(name, BLANK)
        elif "\x00" in str(value):
            self.fault(name, "Null characters are not allowed.")
        elif len(str(value)) > longest:
            self.fault(name, f"Ensure this field has no more than {longest} characters.")
        else:
            return str(value)
        return default or ""

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean, in the spellings that the framework takes."""
        value = self._document.get(name)
        if value is None:
            return default
        if isinstance(value, (str, int)) and str(value).lower() in ("true", "1"):
            return True
        if isinstance(value, (str, int)) and str(value).lower() in ("false", "0"):
            return False
        self.fault(name, "Must be a valid boolean.")
        return default

    def number(
        self, name: str, default: int | None = None, *, least: int = 1, most: int = 10**6
    ) -> int | None:
        """Return a whole number; without a default None when it is missing."""
        value = self._document.get(name)
        if value is None:
            return default
        try:
            if (
                isinstance(value, bool)
                or not isinstance(value, (str, int, float))
                or int(value) != float(value)
            ):
                raise ValueError
            number = int(value)
        except (ValueError, OverflowError):
            self.fault(name, "A valid integer is required.")
            return default
        if number < least:
            self.fault(name, f"Ensure this value is greater than or equal to {least}.")
        elif number > most:
            self.fault(name, f"Ensure this value is less than or equal to {most}.")
        return number

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """Return one of several words."""
        value = self._document.get(name)
        if value is None:
            return default
        if value not in choices:
            self.fault(name, f'"{value}" is not a valid choice.')
            return default
        return str(value)

    def object(self, name: str, read: Callable[[Fields], Any], *, required: bool = False) -> Any:
        """Return what ``read`` makes of a nested object; None when it is missing."""
        if not self.has(name):
            if required:
                self.fault(name, NULL if name in self._document else REQUIRED)
            return None
        inner = Fields(self._document[name])
        made = read(inner) if isinstance(self._document[name], dict) else None
        if inner.errors:
            self.fault(name, inner.errors)
        return made

    def objects(self, name: str, read: Callable[[Fields], Any], *, required: bool = False) -> list[Any]:
        """Return what ``read`` makes of each object of a list."""
        if not self.has(name):
            if required:
                self.fault(name, NULL if name in self._document else REQUIRED)
            return []
        rows = self._document[name]
        if not isinstance(rows, list):
            message = f'Expected a list of items but got type "{kind_name(rows)}".'
            self.fault(name, {"non_field_errors": [message]})
            return []
        if not rows and required:
            self.fault(name, {"non_field_errors": ["This list may not be empty."]})
            return []
        made, errors = [], []
        for row in rows:
            inner = Fields(row)
            made.append(read(inner) if isinstance(row, dict) else None)
            errors.append(inner.errors)
        if any(errors):
            self.fault(name, errors)
        return made

    def mapping(self, name: str) -> dict[str, str]:
        """Return an object whose values are texts."""
        value = self._document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fault(name, f'Expected a dictionary of items but got type "{kind_name(value)}".')
            return {}
        bad = {
            key: ["Not a valid string."]
            for key, one in value.items()
            if isinstance(one, (dict, list))
            or one is None
            or "\x00" in f"{key}{one}"
            or "=" in key
            or not key
        }
        if bad:
            self.fault(name, bad)
        return {key: str(one) for key, one in value.items() if key not in bad}

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        value = self._document.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fault(name, f'Expected a list of items but got type "{kind_name(value)}".')
            return []
        bad = {str(place): ["Not a valid string."] for place, one in enumerate(value) if not _is_tag(one)}
        if bad:
            self.fault(name, bad)
            return []
        return list(dict.fromkeys(one["name"] if isinstance(one, dict) else one for one in value))

    def as_is(self, name: str, kind: type, default: Any) -> Any:
        """Return what was sent, when it is of this kind."""
        value = self._document.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            self.fault(name, f'Expected a {_KIND_NAMES[kind]} but got type "{kind_name(value)}".')
            return default
        return value


def _is_tag(value: Any) -> bool:
    name = value.get("name") if isinstance(value, dict) else value
    return isinstance(name, str) and 0 < len(name) <= 255


def kind_name(value: Any) -> str:
    """Return the name that the framework has for a value's type."""
    return _KIND_NAMES.get(type(value), "NoneType")
