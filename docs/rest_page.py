# SPDX-License-Identifier: Apache-2.0
"""The page of the REST API, read off the application's OpenAPI document."""

from __future__ import annotations

import functools
import json
import re
import warnings
from typing import Any

# The requests of Scale's specification, for the list of those that are missing.
SPECIFIED = """
GET /errors/ POST /errors/ GET /errors/{id}/ PATCH /errors/{id}/
GET /ingests/ GET /ingests/{id}/ GET /ingests/status/
GET /jobs/ GET /jobs/{id}/ PATCH /jobs/{id}/ GET /jobs/updates/ GET /jobs/executions/
GET /job-executions/ GET /job-executions/{id}/ GET /job-executions/{id}/logs/
GET /job-types/ POST /job-types/ POST /job-types/validation/ GET /job-types/{id}/ PATCH /job-types/{id}/
GET /job-types/status/ GET /job-types/running/ GET /job-types/system-failures/
GET /metrics/ GET /metrics/{name}/ GET /metrics/{name}/plot-data/
GET /nodes/ GET /nodes/{id}/ PUT /nodes/{id}/ PATCH /nodes/{id}/ GET /nodes/status/
GET /configuration/ POST /configuration/ POST /configuration/validation/ GET /configuration/download/
POST /configuration/upload/
GET /products/ GET /products/updates/
GET /load/ GET /queue/status/ POST /queue/new-job/ POST /queue/new-recipe/ POST /queue/requeue-jobs/
GET /recipes/ GET /recipes/{id}/
GET /recipe-types/ POST /recipe-types/ POST /recipe-types/validation/ GET /recipe-types/{id}/
PATCH /recipe-types/{id}/
GET /scheduler/ PATCH /scheduler/ GET /status/
GET /sources/ GET /sources/updates/
POST /strike/create/
GET /workspaces/ GET /workspaces/{id}/
"""


def page(marker: str) -> str:
    """Return the page: every endpoint by service, with its parameters.

    :param marker: the line that says that the page is generated.
    """
    document = _document()
    from scale_airflow.api_plugin.documentation import DESCRIPTION, TAGS

    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {tag["name"]: [] for tag in TAGS}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            (tag,) = operation["tags"]
            by_tag[tag].append((path, method.upper(), operation))
    lines = [
        "# REST API",
        "",
        marker,
        DESCRIPTION,
        "",
        "Paths are below `/scale` of Airflow's API server: `http://localhost:8080/scale/api/jobs/`. A",
        "running server shows the same, with every field of the requests, at `/scale/docs`, and as OpenAPI",
        "document at `/scale/openapi.json`; that of this version is [openapi.json](openapi.json).",
    ]
    missing = _missing(document)
    if missing:
        lines += ["", "These requests of Scale's specification are answered with 404:", ""]
        lines += [f"- `{request}`" for request in missing]
    else:
        lines += ["", "Every request of Scale's specification is served."]
    for tag in TAGS:
        lines += ["", f"## {tag['name']}", "", tag["description"]]
        lines += ["", "| request | what it does | query |"]
        lines.append("|---|---|---|")
        for path, method, operation in by_tag[tag["name"]]:
            query = ", ".join(
                f"`{each['name']}`" for each in operation.get("parameters", ()) if each["in"] == "query"
            )
            summary = operation.get("summary", "").replace("|", "\\|")
            lines.append(f"| `{method} {path}` | {summary} | {query} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    """Return the OpenAPI document as JSON."""
    return json.dumps(_document(), indent=1, ensure_ascii=False) + "\n"


@functools.cache
def _document() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Airflow warns of while it loads is its own
        from scale_airflow.api_plugin.app import create_app
        from scale_airflow.api_plugin.openapi import openapi

        return openapi(create_app(with_tick=False))


def _missing(document: dict[str, Any]) -> list[str]:
    """Return the requests of the specification that the application does not know, in its order."""
    served = {
        _shape(f"{method.upper()} {path.removeprefix('/api')}")
        for path, methods in document["paths"].items()
        for method in methods
    }
    requests = re.findall(r"[A-Z]+ \S+", SPECIFIED)
    return [request for request in requests if _shape(request) not in served]


def _shape(request: str) -> str:
    return re.sub(r"{\w+}", "{}", request)
