# SPDX-License-Identifier: Apache-2.0
"""Job load: how many jobs waited and ran, from hour to hour."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.filters import JobTypesDep
from scale_airflow.api_plugin.listing import in_time, page_of
from scale_airflow.api_plugin.parameters import Identifier
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views import metrics
from scale_airflow.services import load
from scale_airflow.services.listing import Window
from scale_airflow.services.time_ranges import month_faults
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Queue"], dependencies=[Depends(requires("GET", "Scale Queue"))])


@router.get("/load/", summary="Job load")
def list_load(
    request: Request,
    window: Annotated[Window, in_time(month_faults)],
    job_types: JobTypesDep,
    job_type_priority: Annotated[
        list[Identifier], Query(description="Only of job types with this priority; repeatable.")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Reply:
    """Return how many jobs were PENDING, QUEUED and RUNNING at each hour of the past week, the oldest first.

    Another time range may be given, of 31 days at most. Every hour that was counted is there; with filters,
    only jobs of these types count.
    """
    with transaction() as session:
        found = load.list_load(session, window, job_types=job_types, priorities=tuple(job_type_priority))
        return page_of(request, window, found, metrics.load)
