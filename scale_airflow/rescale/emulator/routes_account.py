# SPDX-License-Identifier: Apache-2.0
"""Users, projects, hardware, prices, software: what is the same for all jobs."""

from __future__ import annotations

from typing import Any

from scale_airflow.rescale.emulator import catalog
from scale_airflow.rescale.emulator.answers import Answer, json_answer
from scale_airflow.rescale.emulator.exchange import Exchange
from scale_airflow.rescale.emulator.moments import with_z
from scale_airflow.rescale.emulator.paging import page_of
from scale_airflow.rescale.emulator.refusals import not_found
from scale_airflow.rescale.emulator.routing import BASE, Endpoint


async def get_root(exchange: Exchange) -> Answer:
    """Answer the addresses of the lists: what clients ask to try a key."""
    names = ("jobs", "files", "analyses", "coretypes", "storage-devices")
    return json_answer({name: f"{exchange.origin}{BASE}/{name}/" for name in names})


async def get_me(exchange: Exchange) -> Answer:
    """Answer row 1: the caller."""
    caller = exchange.caller
    return json_answer(
        {
            "email": caller.email,
            "username": caller.email,
            "fullName": f"Demo User {caller.number}",
            "firstName": "Demo",
            "lastName": f"User {caller.number}",
            "company": {"code": catalog.ORGANIZATION, "name": "Demo Company"},
            "workspace": {"id": catalog.WORKSPACE, "name": "Demo Workspace"},
            "defaultStorage": "pCTMk",
            "maxJobHours": None,
            "isActive": True,
        }
    )


async def list_projects(exchange: Exchange) -> Answer:
    """Answer row 2: the projects that the caller may bill."""
    return json_answer(page_of(catalog.PROJECTS, exchange.url, dict))


async def list_core_types(exchange: Exchange) -> Answer:
    """Answer row 3: hardware, only what is in use with ``isActive=true``."""
    ordered: list[tuple[int, catalog.CoreType]] = list(enumerate(catalog.CORE_TYPES))
    wanted = exchange.query.get("isActive", "").lower()
    if wanted in ("true", "false"):
        ordered = [one for one in ordered if one[1].is_deprecated == (wanted == "false")]
    return json_answer(page_of(ordered, exchange.url, lambda one: one[1].to_document(one[0])))


async def list_prices(exchange: Exchange) -> Answer:
    """Answer row 4: a bare list."""
    return json_answer(catalog.prices())


async def list_analyses(exchange: Exchange) -> Answer:
    """Answer row 5: software."""
    return json_answer(page_of(catalog.ANALYSES, exchange.url, catalog.Software.to_document))


async def get_analysis(exchange: Exchange) -> Answer:
    """Answer one analysis."""
    software = catalog.ANALYSES_BY_CODE.get(exchange.values["code"])
    if software is None:
        raise not_found()
    return json_answer(software.to_document())


async def get_billing(exchange: Exchange) -> Answer:
    """Answer row 32: what the caller's jobs cost, by their cores, hours and prices."""
    _check_workspace(exchange)
    return json_answer({"charges": [_charge(exchange, job_id) for job_id in _billed(exchange)]})


async def list_custom_fields(exchange: Exchange) -> Answer:
    """Answer the custom fields that the workspace defines."""
    _check_workspace(exchange)
    return json_answer([{"name": "cost-center", "type": "text", "required": False}])


def _check_workspace(exchange: Exchange) -> None:
    known = {"org": catalog.ORGANIZATION, "workspace": catalog.WORKSPACE}
    if any(known[name] != value for name, value in exchange.values.items()):
        raise not_found()


def _billed(exchange: Exchange) -> list[str]:
    return [
        one.id for one in exchange.state.jobs.values() if one.paid_runs and one.owner == exchange.caller.email
    ]


def _charge(exchange: Exchange, job_id: str) -> dict[str, Any]:
    job = exchange.state.jobs[job_id]
    hardware = job.document["jobanalyses"][0]["hardware"]
    core_type = catalog.CORE_TYPES_BY_CODE[hardware["coreType"]]
    cores = hardware["coresPerSlot"] * hardware["slots"]
    runs = exchange.state.runs(job_id)
    hours = sum(
        ((run.completed or exchange.emulator.clock.now()) - run.started).total_seconds() / 3600
        for run in runs
        if run.started is not None
    )
    price = catalog.economy_price(core_type) if job.document["isLowPriority"] else core_type.price
    return {
        "jobId": job_id,
        "jobName": job.document["name"],
        "coreType": core_type.code,
        "cores": cores,
        "hours": f"{hours:.4f}",
        "amount": f"{float(price) * cores * hours:.4f}",
        "currency": "USD",
        "dateSubmitted": with_z(job.submitted),
    }


ENDPOINTS = [
    Endpoint("/", "user", {"GET": get_root}),
    Endpoint("/users/me/", "user", {"GET": get_me}),
    Endpoint("/users/me/projects/", "user", {"GET": list_projects}),
    Endpoint("/coretypes/", "user", {"GET": list_core_types}),
    Endpoint("/billing/computeprices/", "billing-endpoint", {"GET": list_prices}),
    Endpoint("/analyses/", "user", {"GET": list_analyses}),
    Endpoint("/analyses/{code}/", "user", {"GET": get_analysis}),
    Endpoint(
        "/organizations/{org}/workspaces/{workspace}/billing/", "billing-endpoint", {"GET": get_billing}
    ),
    Endpoint(
        "/organizations/{org}/workspaces/{workspace}/custom-fields/", "user", {"GET": list_custom_fields}
    ),
]
