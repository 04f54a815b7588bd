# SPDX-License-Identifier: Apache-2.0
"""Which version of Scale answers here."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from scale_airflow import __version__
from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.replies import Reply

router = APIRouter(tags=["Version"])


@router.get("/version/", summary="Version", dependencies=[Depends(requires("GET", "Scale Status"))])
def get_version() -> Reply:
    """Return the version of the installed Scale provider."""
    return Reply({"version": __version__})
