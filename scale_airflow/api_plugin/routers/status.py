# SPDX-License-Identifier: Apache-2.0
"""System status: this API server, Airflow's scheduler, the queue and the resources of all nodes."""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.services.system_status import Resources, system_status
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Status"], dependencies=[Depends(requires("GET", "Scale Status"))])


@router.get("/status/", summary="System status")
def get_status(request: Request) -> Reply:
    """Return whether master and scheduler are online, the queue's depth and the resources of the nodes.

    The master is this API server, the scheduler Airflow's. Use in real time is not measured and shown as
    zero; `resources` is left out while no node is online.
    """
    with transaction() as session:
        found = system_status(session)
    shown: dict[str, Any] = {
        "master": {"is_online": True, "hostname": socket.gethostname(), "port": _port(request)},
        "scheduler": {
            "is_online": found.scheduler_is_online,
            "is_paused": found.scheduler_is_paused,
            "hostname": found.scheduler_hostname,
        },
        "queue_depth": found.queue_depth,
    }
    if found.total is not None and found.scheduled is not None:
        shown["resources"] = {
            "total": asdict(found.total),
            "scheduled": asdict(found.scheduled),
            "used": asdict(Resources()),
        }
    return Reply(shown)


def _port(request: Request) -> int:
    server = request.scope.get("server")
    return int(server[1]) if server and server[1] else (request.url.port or 0)
