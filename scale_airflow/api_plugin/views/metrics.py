# SPDX-License-Identifier: Apache-2.0
"""Metrics, load and what Strike processes brought in, as answers show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scale_airflow.api_plugin.views.ingests import strike_brief
from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.api_plugin.views.types import job_type_brief
from scale_airflow.definitions.metrics import MetricsColumn, MetricsType
from scale_airflow.services.ingest_status import IngestStatus
from scale_airflow.services.load import LoadCount
from scale_airflow.services.plot_data import PlotData, PlotValue
from scale_airflow.store.models import JobType, Strike

JsonObject = dict[str, Any]


def metrics_type(kind: MetricsType) -> JsonObject:
    """Show a metrics type in a list (specification: Metrics List)."""
    return {
        "name": kind.name,
        "title": kind.title,
        "description": kind.description,
        "filters": [{"param": param, "type": value} for param, value in kind.filters],
        "groups": [
            {"name": group.name, "title": group.title, "description": group.description}
            for group in kind.groups
        ],
        "columns": [column(each) for each in kind.columns],
    }


def metrics_details(kind: MetricsType, choices: Iterable[JobType | Strike]) -> JsonObject:
    """Show a metrics type with what its metrics can be asked of (specification: Metric Details)."""
    shown = [job_type_brief(each) if isinstance(each, JobType) else strike_brief(each) for each in choices]
    return {**metrics_type(kind), "choices": shown}


def column(row: MetricsColumn) -> JsonObject:
    """Show one column of a metrics type."""
    return {
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "units": row.units,
        "group": row.group,
        "aggregate": row.aggregate,
    }


def plot_data(row: PlotData, *, with_ids: bool) -> JsonObject:
    """Show the values of one column (specification: Metric Plot Data).

    :param with_ids: whether each value says of which choice it is.
    """
    values = row.values
    return {
        "column": column(row.column),
        "min_x": values[0].day.isoformat() if values else None,
        "max_x": values[-1].day.isoformat() if values else None,
        "min_y": min((each.value for each in values), default=None),
        "max_y": max((each.value for each in values), default=None),
        "values": [_plot_value(each, with_id=with_ids) for each in values],
    }


def _plot_value(row: PlotValue, *, with_id: bool) -> JsonObject:
    shown = {"date": row.day.isoformat(), "value": row.value}
    return {"id": row.choice_id, **shown} if with_id else shown


def load(row: LoadCount) -> JsonObject:
    """Show how many jobs there were at a moment (specification: Job Load)."""
    return {
        "time": moment(row.measured),
        "pending_count": row.pending_count,
        "queued_count": row.queued_count,
        "running_count": row.running_count,
    }


def ingest_status(row: IngestStatus) -> JsonObject:
    """Show what a Strike process has ingested (specification: Ingest Status)."""
    return {
        "strike": strike_brief(row.strike),
        "most_recent": moment(row.most_recent),
        "files": row.files,
        "size": row.size,
        "values": [
            {"time": moment(each.time), "files": each.files, "size": each.size} for each in row.values
        ],
    }
