# SPDX-License-Identifier: Apache-2.0
"""Metrics services: processing counts and timings, by the day."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.errors import note
from scale_airflow.api_plugin.listing import PagesDep, in_time, page_of
from scale_airflow.api_plugin.parameters import Identifier
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views import metrics
from scale_airflow.definitions.metrics import METRICS_TYPES
from scale_airflow.services import plot_data
from scale_airflow.services.listing import Window, one_page
from scale_airflow.services.plot_data import PlotFilter
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Metrics"], dependencies=[Depends(requires("GET", "Scale Metrics"))])

Name = Annotated[str, Path(description="The name of the metrics type.", examples=["job-types"])]


@router.get("/metrics/", summary="Metrics list")
def list_metrics(request: Request, window: PagesDep) -> Reply:
    """Return the metrics types with their groups and columns."""
    return page_of(request, window, one_page(METRICS_TYPES, window), metrics.metrics_type)


@router.get("/metrics/{name}/", summary="Metric details")
def get_metrics(name: Name) -> Reply:
    """Return a metrics type with its choices: what its metrics can be asked of."""
    kind = plot_data.metrics_type(name)
    with transaction() as session:
        return Reply(metrics.metrics_details(kind, plot_data.choices(session, kind)))


async def columns(
    request: Request,
    name: Name,
    column: Annotated[list[str], Query(description="Only the column with this name; repeatable.")] = [],  # noqa: B006 - FastAPI copies it
    group: Annotated[
        list[str], Query(description="Only the columns of this group, and those named; repeatable.")
    ] = [],  # noqa: B006
) -> PlotFilter:
    """Read which columns are meant; note which of them, and of the groups, there are none of."""
    wanted = PlotFilter(columns=tuple(filter(None, column)), groups=tuple(filter(None, group)))
    note(request, plot_data.filter_faults(plot_data.metrics_type(name), wanted))
    return wanted


@router.get("/metrics/{name}/plot-data/", summary="Metric plot data")
def list_plot_data(
    request: Request,
    name: Name,
    window: Annotated[Window, in_time()],
    chosen: Annotated[PlotFilter, Depends(columns)],
    choice_id: Annotated[
        list[Identifier],
        Query(
            description="Only of the choice with this identifier; repeatable, then each value carries the "
            "`id` of its choice. Without it, values are of all choices together."
        ),
    ] = [],  # noqa: B006
) -> Reply:
    """Return the values of each column, by UTC day, the oldest first.

    A day shows once it is over and its metrics are worked out. Where nothing was measured on a day, sums are
    0, and minimum, maximum and average are left out.
    """
    kind = plot_data.metrics_type(name)
    wanted = replace(chosen, choice_ids=tuple(choice_id))
    with transaction() as session:
        found = plot_data.plot_data(session, kind, wanted, window)
        return page_of(
            request, window, found, lambda row: metrics.plot_data(row, with_ids=wanted.is_of_several)
        )
