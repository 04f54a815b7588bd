# SPDX-License-Identifier: Apache-2.0
"""Strike processes and ingests as answers show them (specification: Ingest and Strike Services)."""

from __future__ import annotations

from typing import Any

from scale_airflow.api_plugin.links import Links
from scale_airflow.api_plugin.views.files import source_file
from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.api_plugin.views.work import job_base, reference
from scale_airflow.store.models import Ingest, Strike

JsonObject = dict[str, Any]


def strike_brief(row: Strike) -> JsonObject:
    """Show a Strike process in a list, without its configuration."""
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "job": None if row.job is None else job_base(row.job),
        "created": moment(row.created),
        "last_modified": moment(row.last_modified),
    }


def strike_details(row: Strike) -> JsonObject:
    """Show a Strike process with its configuration."""
    return {**strike_brief(row), "configuration": row.configuration}


def strike_in_list(row: Strike) -> JsonObject:
    """Show a Strike process in a list of Strike processes."""
    return {**strike_brief(row), "is_active": row.is_active}


def whole_strike(row: Strike) -> JsonObject:
    """Show a Strike process with everything about it."""
    return {**strike_details(row), "is_active": row.is_active}


def ingest(row: Ingest, links: Links) -> JsonObject:
    """Show an ingest in a list."""
    return {
        "id": row.id,
        "file_name": row.file_name,
        "strike": {"id": row.strike_id, "job": reference(row.strike.job_id)},
        "status": row.status,
        "bytes_transferred": row.bytes_transferred,
        "transfer_started": moment(row.transfer_started),
        "transfer_ended": moment(row.transfer_ended),
        "media_type": row.media_type,
        "file_size": row.file_size,
        "data_type": row.data_type,
        "ingest_started": moment(row.ingest_started),
        "ingest_ended": moment(row.ingest_ended),
        "source_file": None if row.source_file is None else source_file(row.source_file, links),
        "created": moment(row.created),
        "last_modified": moment(row.last_modified),
    }


def ingest_details(row: Ingest, links: Links) -> JsonObject:
    """Show an ingest with everything about it.

    ``message`` says why a file was not ingested; the specification does not have it.
    """
    return {
        **ingest(row, links),
        "strike": strike_details(row.strike),
        "transfer_path": row.transfer_path,
        "file_path": row.file_path,
        "ingest_path": row.ingest_path,
        "message": row.message,
    }
