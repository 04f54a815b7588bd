# SPDX-License-Identifier: Apache-2.0
"""The page of the REST API, read off the application's OpenAPI document."""

from __future__ import annotations

import warnings
from typing import Any


def page(marker: str) -> str:
    """Return the page: every endpoint by service, with its parameters.

    :param marker: the line that says that the page is generated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Airflow warns of while it loads is its own
        from scale_airflow.api_plugin.app import create_app
        from scale_airflow.api_plugin.documentation import DESCRIPTION, TAGS

        document = create_app(with_tick=False).openapi()
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
        "document at `/scale/openapi.json`.",
    ]
    for tag in TAGS:
        lines += ["", f"## {tag['name']}", "", tag["description"]]
        if not by_tag[tag["name"]]:
            continue  # what workers use is no public API
        lines += ["", "| request | what it does | query |"]
        lines.append("|---|---|---|")
        for path, method, operation in by_tag[tag["name"]]:
            query = ", ".join(
                f"`{each['name']}`" for each in operation.get("parameters", ()) if each["in"] == "query"
            )
            summary = operation.get("summary", "").replace("|", "\\|")
            lines.append(f"| `{method} {path}` | {summary} | {query} |")
    return "\n".join(lines) + "\n"
