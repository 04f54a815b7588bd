# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: what FastAPI reads off the endpoints, and besides models, errors and examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from scale_airflow.api_plugin.models.kinds import MODELS, example_of
from scale_airflow.api_plugin.models.operations import ANSWERS, BODIES, PARAMETERS, PLAIN
from scale_airflow.api_plugin.models.runtime import LOGINS, RUNTIME, content_of

_JSON = "application/json"

ERROR: dict[str, Any] = {
    "title": "Refusal",
    "type": "object",
    "description": "Why a request was not done.",
    "required": ["detail"],
    "properties": {
        "detail": {"type": "string", "description": "What is wrong, in one sentence."},
        "errors": {
            "type": "array",
            "description": "Every fault of a refused document or request.",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {
                    "path": {"type": "string", "description": "Where: a JSON pointer, or a parameter."},
                    "message": {"type": "string", "description": "What is wrong there."},
                    "rule": {"type": "string", "description": "The rule of the document that says so."},
                },
            },
        },
    },
}

_FAULTY = {
    "detail": 'The field "job_type_id" is required.',
    "errors": [{"path": "/job_type_id", "message": 'The field "job_type_id" is required.'}],
}
_REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "400": ("A parameter, field or document is wrong; `errors` names every fault.", _FAULTY),
    "401": (
        "There is no login, or a wrong one.",
        {"detail": "Log in with a bearer token, HTTP Basic or the session of Airflow's pages."},
    ),
    "403": (
        "The caller lacks the permission.",
        {"detail": "You lack the permission to edit on Scale Jobs."},
    ),
    "404": ("There is no such thing.", {"detail": "There is no job with the id 1234."}),
    "409": (
        "What is there stands against it, or another change came in between.",
        {"detail": "Another change came in between; repeat the request."},
    ),
    "413": (
        "The body is too long.",
        {"detail": "The body of a request may have at most 33554432 bytes."},
    ),
    "415": (
        "The body has an encoding that is not read.",
        {"detail": "Send the body without a Content-Encoding."},
    ),
    "503": (
        "The database or Airflow does not answer in time, or something is not set up.",
        {"detail": "The database did not answer in time; repeat the request."},
    ),
}
_ALWAYS = ("400", "401", "403", "404", "503")
_OF_BODIES = ("413", "415")
_OF_CHANGES = ("409",)

_LOGINS: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `POST /auth/token`, or a long-lived one of `airflow scale token`.",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "Name and password, where FAB holds them."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "_token",
        "description": "The session of Airflow's pages. It changes things only from this server's own pages.",
    },
}


def openapi(app: FastAPI, root_path: str = "/scale") -> dict[str, Any]:
    """Return the OpenAPI document of an application.

    :param root_path: where it is mounted, as its callers see it.
    """
    if app.openapi_schema is None:
        document = app.openapi()
        _complete(document)
        app.openapi_schema = document
    return {**app.openapi_schema, "servers": [{"url": root_path}]}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the method, the path and the operation of all operations of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _complete(document: dict[str, Any]) -> None:
    for method, _, operation in operations(document):
        if operation["operationId"] in RUNTIME:
            _exchange(operation)
        _answer(operation)
        _refuse(operation, is_change=method != "GET")
        _show(operation)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    # FastAPI's own form of a validation error, which this API never answers.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update({"Refusal": ERROR} | {name: each.schema() for name, each in MODELS.items()})
    components["responses"] = {
        status: {"description": said, "content": {_JSON: {**_REFUSED, "example": example}}}
        for status, (said, example) in _REFUSALS.items()
    }
    components["securitySchemes"] = {**_LOGINS, **LOGINS}
    document["security"] = [{name: []} for name in _LOGINS]


_REFUSED = {"schema": {"$ref": "#/components/schemas/Refusal"}}


def _exchange(operation: dict[str, Any]) -> None:
    """Say what a worker sends and is answered, and how it is known."""
    found = RUNTIME[operation["operationId"]]
    operation["security"] = [{found.login: []}]
    operation["summary"] = operation["description"].partition("\n")[0].rstrip(".")
    if found.takes is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: content_of(found.takes)}}
    operation["responses"]["200"]["content"] = {_JSON: content_of(found.gives)}


def _answer(operation: dict[str, Any]) -> None:
    """Say what an operation answers when all is well."""
    name = operation["operationId"]
    (status,) = (each for each in operation["responses"] if each.startswith("2"))
    answer = operation["responses"][status]
    if name in PLAIN:
        kind = {"type": "string"} if PLAIN[name].startswith("text/") else {}
        answer["content"] = {PLAIN[name]: {"schema": kind}}
        return
    if name in ANSWERS:
        found = ANSWERS[name]
        schema = {"$ref": f"#/components/schemas/{found.name}"}
        answer["content"] = {_JSON: {"schema": schema, "example": found.example()}}
        if answer["description"] == "Successful Response":
            answer["description"] = found.description


def _refuse(operation: dict[str, Any], *, is_change: bool) -> None:
    """Say which errors an operation answers with; what it says itself of one stays."""
    responses = operation["responses"]
    responses.pop("422", None)
    statuses = {*_ALWAYS, *(_OF_CHANGES if is_change else ())}
    if "requestBody" in operation:
        statuses.update(_OF_BODIES)
    for status in sorted(statuses):
        said = responses.get(status, {}).get("description")
        if said is None or status in _ALWAYS:
            responses[status] = {"$ref": f"#/components/responses/{status}"}
        else:
            responses[status] = {"description": said, "content": {_JSON: _REFUSED}}


def _show(operation: dict[str, Any]) -> None:
    """Give examples where there are none: of parameters, and of the body."""
    for parameter in operation.get("parameters", ()):
        example = _example_of_parameter(parameter)
        if example is not None:
            parameter["example"] = example
    content = operation.get("requestBody", {}).get("content", {}).get(_JSON)
    if content is not None and "example" not in content:
        name = operation["operationId"]
        content["example"] = BODIES.get(name) or _example_of_body(content["schema"])


def _example_of_parameter(parameter: dict[str, Any]) -> Any:
    if parameter["name"] in PARAMETERS:
        return PARAMETERS[parameter["name"]]
    schema = parameter["schema"]
    item = schema.get("items", schema)
    known = {"integer": 1, "boolean": True}.get(item.get("type"))
    example = next(iter(item.get("examples") or item.get("enum") or [known]))
    return [example] if "items" in schema and example is not None else example


def _example_of_body(schema: dict[str, Any]) -> Any:
    properties = schema["properties"]
    shown = {name: part for name, part in properties.items() if "examples" in part}
    return {name: example_of(part) for name, part in shown.items()}
