# SPDX-License-Identifier: Apache-2.0
"""Holds answers against the models of the OpenAPI document: every field is there, and none besides."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema_rs


class Models:
    """The answers that an OpenAPI document describes."""

    def __init__(self, document: Any):
        self.document = document
        # By the document an object may have more fields: a later version may add one. Here not.
        self._definitions = {
            name: {"additionalProperties": False, **schema}
            for name, schema in copy.deepcopy(document["components"]["schemas"]).items()
        }
        self._validators: dict[tuple[str, str, str], Any] = {}
        self.seen: set[str] = set()

    def operation(self, method: str, path: str) -> str | None:
        """Return the path of the operation that serves a path, by the shape of both."""
        parts = path.strip("/").split("/")
        found = None
        for known, methods in self.document["paths"].items():
            shape = known.strip("/").split("/")
            if len(shape) != len(parts) or method.lower() not in methods:
                continue
            if all(a == b or a.startswith("{") for a, b in zip(shape, parts, strict=True)):
                # What is spelled out comes before what is any.
                found = known if found is None or "{" in found else found
        return found

    def _validator(self, method: str, path: str, status: str) -> Any:
        answer = self.document["paths"][path][method.lower()]["responses"].get(status)
        if answer is None:
            return None
        if "$ref" in answer:
            answer = self.document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        schema = json.loads(
            json.dumps(
                {**answer["content"]["application/json"]["schema"], "$defs": self._definitions}
            ).replace("#/components/schemas/", "#/$defs/")
        )
        return jsonschema_rs.Draft202012Validator(schema)

    def faults(self, method: str, path: str, status: int, content: Any) -> list[str]:
        """Return how an answer differs from the model of its operation."""
        known = self.operation(method, path)
        if known is None:
            return [f"{method} {path} is not in the document"]
        place = method, known, str(status)
        if place not in self._validators:
            self._validators[place] = self._validator(*place)
        validator = self._validators[place]
        if validator is None:
            return [f"{method} {known} says nothing of {status}"]
        self.seen.add(f"{method} {known}")
        return [
            f"{method} {known}: /{'/'.join(map(str, error.instance_path))}: {error.message[:500]}"
            for error in validator.iter_errors(content)
        ]
