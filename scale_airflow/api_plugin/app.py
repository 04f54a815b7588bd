# SPDX-License-Identifier: Apache-2.0
"""The FastAPI application that the plugin mounts at ``/scale`` of Airflow's API server."""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from scale_airflow import __version__
from scale_airflow.api_plugin import documentation, errors, users
from scale_airflow.api_plugin.auth import authenticate
from scale_airflow.api_plugin.guard import Guard
from scale_airflow.api_plugin.permissions import sync_permissions
from scale_airflow.api_plugin.replies import Reply

log = logging.getLogger(__name__)

ROUTERS = (
    "errors",
    "workspaces",
    "job_types",
    "recipe_types",
    "trigger_rules",
    "configuration",
    "strikes",
    "ingests",
    "sources",
    "products",
    "files",
    "queue",
    "load",
    "jobs",
    "job_executions",
    "recipes",
    "metrics",
    "nodes",
    "scheduler",
    "status",
    "version",
    "runtime",
    "runtime_strikes",
    "runtime_clock",
    "runtime_files",
    "runtime_workspaces",
)
"""Modules of ``routers/``, in the order in which the documentation shows them."""

# Workers have no user: these endpoints check the installation's secret or an execution's token themselves.
OWN_LOGIN = "/api/runtime/"


def create_app(with_tick: bool = True) -> FastAPI:
    """Build the application.

    :param with_tick: whether the application runs the tick (dispatch and reconcile) while it is up.
    """
    app = FastAPI(
        title="Scale",
        summary="The processing system for geospatial data, on Apache Airflow.",
        description=documentation.DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(with_tick),
        default_response_class=Reply,
        generate_unique_id_function=_operation_id,
        openapi_tags=documentation.TAGS,
    )
    errors.install(app)
    app.add_middleware(Guard)
    for name in ROUTERS:
        include(app, importlib.import_module(f"scale_airflow.api_plugin.routers.{name}").router)
    app.include_router(documentation.router)
    return app


def include(app: FastAPI, router: APIRouter) -> None:
    """Put a router's endpoints below ``/api``, each behind a login unless it has its own.

    :raises ValueError: for a path without its trailing slash: the guard adds one to every request.
    """
    for route in router.routes:
        path = getattr(route, "path", "")
        if not path.endswith("/"):
            raise ValueError(f"The path of an endpoint ends with a slash, but {path!r} doesn't.")
    own_login = all(f"/api{getattr(route, 'path', '')}".startswith(OWN_LOGIN) for route in router.routes)
    # FastAPI asks for the caller once a request: an endpoint's own requirement finds it known.
    guarded = [] if own_login else [Depends(authenticate)]
    app.include_router(router, prefix="/api", dependencies=guarded)


def endpoints(app: FastAPI) -> Iterator[APIRoute]:
    """Yield every endpoint of the application."""
    return (route for route in app.routes if isinstance(route, APIRoute))


def _operation_id(route: APIRoute) -> str:
    """Return the name of an operation: its module's, then its function's."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}_{route.name}"


def _lifespan(with_tick: bool) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if users.is_fab():
            await run_in_threadpool(_sync_permissions)
        async with _ticking(with_tick):
            yield

    return lifespan


def _sync_permissions() -> None:
    try:
        added = sync_permissions()
    except Exception:
        # Airflow's own pages must come up even where Scale's part of the database is not ready yet.
        log.exception("Scale's permissions could not be written; run `airflow scale sync-perms`")
    else:
        if added:
            users.forget()
            log.info("Added %d permissions and grants of Scale", added)


@asynccontextmanager
async def _tick() -> AsyncIterator[None]:
    from scale_airflow.api_plugin.tick import Tick

    tick = Tick()
    tick.start()
    try:
        yield
    finally:
        await run_in_threadpool(tick.stop)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def _ticking(with_tick: bool) -> AbstractAsyncContextManager[None]:
    return _tick() if with_tick else _nothing()
