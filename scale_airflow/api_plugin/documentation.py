# SPDX-License-Identifier: Apache-2.0
"""The API's own documentation: the OpenAPI document, and a page that needs nothing from elsewhere."""

from __future__ import annotations

import html
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse

from scale_airflow.api_plugin.auth import authenticate
from scale_airflow.api_plugin.links import links_of
from scale_airflow.api_plugin.openapi import openapi, operations
from scale_airflow.api_plugin.replies import Reply

DESCRIPTION = """\
Scale's REST API, as its clients know it, inside Airflow's API server. Every path answers the same with and
without its trailing slash.

Log in with `Authorization: Bearer` (a token of `POST /auth/token`, or a long-lived one of `airflow scale
token`), with HTTP Basic where FAB holds the passwords, or with the session of Airflow's pages.

Lists answer `{"count", "next", "previous", "results"}`. Errors answer `{"detail": "<one sentence>"}` and,
where a document or parameters were refused, `"errors": [{"path", "message"}]` with every fault."""

TAGS: list[dict[str, Any]] = [
    {"name": "Errors", "description": "Errors that exit codes of jobs map to."},
    {"name": "Workspaces", "description": "Where source and product files are stored."},
    {"name": "Job types", "description": "Algorithms: their interface, image and needs."},
    {"name": "Recipe types", "description": "Graphs of job types."},
    {"name": "Trigger rules", "description": "What starts jobs and recipes by itself."},
    {"name": "Configuration", "description": "Import and export of errors, job types and recipe types."},
    {"name": "Strikes", "description": "Processes that watch a directory for files to ingest."},
    {"name": "Ingests", "description": "The way of files from a Strike directory into a workspace."},
    {"name": "Sources", "description": "Source files."},
    {"name": "Products", "description": "Product files."},
    {"name": "Files", "description": "Any file, and its content."},
    {"name": "Queue", "description": "What waits, and how work is queued."},
    {"name": "Jobs", "description": "Jobs of any state."},
    {"name": "Job executions", "description": "Tries of jobs, with their logs."},
    {"name": "Recipes", "description": "Runs of recipe types."},
    {"name": "Metrics", "description": "Processing counts and timings, by the day."},
    {"name": "Nodes", "description": "The hosts on which jobs run."},
    {"name": "Scheduler", "description": "One switch for the whole system."},
    {"name": "Status", "description": "The state of the whole system."},
    {"name": "Version", "description": "The version of this installation."},
    {
        "name": "Runtime",
        "description": "What workers use, with their own secrets and tokens; it changes with versions.",
    },
]

router = APIRouter()


def _asked_for(request: Request) -> dict[str, Any]:
    return openapi(request.app, request.scope.get("root_path", ""))


@router.get("/openapi.json", include_in_schema=False, dependencies=[Depends(authenticate)])
def openapi_document(request: Request) -> Reply:
    """Answer the OpenAPI document."""
    return Reply(_asked_for(request))


@router.get("/docs", include_in_schema=False, dependencies=[Depends(authenticate)])
def page(request: Request) -> HTMLResponse:
    """Answer the document as a page to read."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    address = f"{links_of(request).root}/openapi.json"
    return HTMLResponse(_page(_asked_for(request), address), headers=headers)


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
code,pre{font:14px/1.5 ui-monospace,monospace}summary{cursor:pointer;padding:.3rem 0}
summary b{display:inline-block;min-width:4.5rem}td,th{padding:.1rem 1rem .1rem 0;text-align:left;
vertical-align:top}details>div{margin:0 0 1rem 4.5rem}h2{margin:2rem 0 0}pre{white-space:pre-wrap}"""


def _page(document: dict[str, Any], address: str) -> str:
    by_tag: dict[str, list[str]] = {}
    for method, path, operation in operations(document):
        by_tag.setdefault(operation.get("tags", ["Other"])[0], []).append(_operation(method, path, operation))
    about = {tag["name"]: tag["description"] for tag in document.get("tags", ())}
    info = document["info"]
    sections = "".join(
        f"<h2>{html.escape(tag)}</h2><p>{html.escape(about.get(tag, ''))}</p>{''.join(parts)}"
        for tag, parts in by_tag.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Scale REST API</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(info['title'])} {html.escape(info['version'])}</h1>"
        f"<pre>{html.escape(info['description'])}</pre>"
        f'<p>For programs: <a href="{html.escape(address)}">openapi.json</a>.</p>{sections}</html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(each['name'])}</code><td>{html.escape(each['in'])}"
        f"<td>{html.escape(each.get('description', ''))}"
        for each in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    rows += "".join(
        f"<tr><td><code>{html.escape(name)}</code><td>body<td>{html.escape(field.get('description', ''))}"
        for name, field in body.get("properties", {}).items()
    )
    answers = ", ".join(html.escape(status) for status in operation.get("responses", ()))
    return (
        f"<details><summary><b>{method}</b> <code>{html.escape(path)}</code> "
        f"{html.escape(operation.get('summary', ''))}</summary><div>"
        f"<p>{html.escape(operation.get('description', ''))}</p><table>{rows}</table>"
        f"<p>Answers: {answers}</p></div></details>"
    )
