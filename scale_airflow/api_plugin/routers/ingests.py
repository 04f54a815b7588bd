# SPDX-License-Identifier: Apache-2.0
"""Ingest services: the way of files from a Strike directory into a workspace."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import in_time, ordered_by, page_of
from scale_airflow.api_plugin.parameters import Flag, OneOf, PathId
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views.ingests import ingest, ingest_details
from scale_airflow.api_plugin.views.metrics import ingest_status
from scale_airflow.services import file_lists
from scale_airflow.services.ingest_status import list_ingest_status
from scale_airflow.services.listing import Window
from scale_airflow.services.time_ranges import month_faults
from scale_airflow.store.models import INGEST_STATUSES
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Ingests"], dependencies=[Depends(requires("GET", "Scale Ingests"))])


@router.get("/ingests/", summary="Ingest list")
def list_ingests(
    request: Request,
    links: LinksDep,
    window: Annotated[Window, ordered_by(file_lists.INGEST_FIELDS)],
    status: Annotated[
        str | None, OneOf(*INGEST_STATUSES), Query(description="Only ingests with this status.")
    ] = None,
) -> Reply:
    """Return all ingests, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        found = file_lists.list_ingests(session, window, status=status)
        return page_of(request, window, found, lambda row: ingest(row, links))


@router.get("/ingests/status/", summary="Ingest status")
def list_status(
    request: Request,
    window: Annotated[Window, in_time(month_faults)],
    use_ingest_time: Annotated[
        Flag,
        Query(
            description="Whether files count at the time when they were ingested; by default, at the time "
            "when their data was collected."
        ),
    ] = None,
) -> Reply:
    """Return what each Strike process has ingested, hour by hour, in the past week.

    Another time range may be given, of 31 days at most. Files of which it is not known when their data was
    collected count only with `use_ingest_time`.
    """
    with transaction() as session:
        found = list_ingest_status(session, window, use_ingest_time=bool(use_ingest_time))
        return page_of(request, window, found, ingest_status)


@router.get("/ingests/{ingest_id}/", summary="Ingest details")
def get_ingest(ingest_id: PathId, links: LinksDep) -> Reply:
    """Return an ingest with its Strike process, source file and paths."""
    with transaction() as session:
        return Reply(ingest_details(file_lists.ingest_details(session, ingest_id), links))
