# SPDX-License-Identifier: Apache-2.0
"""Source and product files as answers show them (specification: Source File Details, Product Details)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from scale_airflow.api_plugin.links import Links
from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.api_plugin.views.types import job_type_brief
from scale_airflow.services.file_lists import FileUpdate
from scale_airflow.store.models import ScaleFile

JsonObject = dict[str, Any]


def file_base(row: ScaleFile, links: Links) -> JsonObject:
    """Show what source and product files have in common; the file's workspace must be loaded."""
    return {
        "id": row.id,
        "workspace": {"id": row.workspace_id, "name": row.workspace.name},
        "file_name": row.file_name,
        "media_type": row.media_type,
        "file_size": row.file_size,
        "data_type": row.data_type,
        "is_deleted": row.is_deleted,
        "uuid": row.uuid,
        "url": file_url(row, links),
        "created": moment(row.created),
        "deleted": moment(row.deleted),
        "data_started": moment(row.data_started),
        "data_ended": moment(row.data_ended),
        "geometry": row.geometry,
        "center_point": row.center_point,
        "meta_data": row.meta_data,
        "countries": row.countries,
        "last_modified": moment(row.last_modified),
    }


def file_url(row: ScaleFile, links: Links) -> str:
    """Return where a file is downloaded: at its workspace's own address, else through this API."""
    base = row.workspace.base_url
    return f"{base.rstrip('/')}/{quote(row.file_path)}" if base else links.content(row.id)


def source_file(row: ScaleFile, links: Links) -> JsonObject:
    """Show a source file."""
    return {**file_base(row, links), "is_parsed": row.is_parsed, "parsed": moment(row.parsed)}


def product(row: ScaleFile, links: Links) -> JsonObject:
    """Show a product inside of its job: only references to what made it."""
    return {
        **file_base(row, links),
        "is_operational": row.is_operational,
        "is_published": row.is_published,
        "published": moment(row.published),
        "unpublished": moment(row.unpublished),
        "job_type": {"id": row.job_type_id},
        "job": {"id": row.job_id},
        "job_exe": {"id": row.job_exe_id},
    }


def product_in_list(row: ScaleFile, links: Links) -> JsonObject:
    """Show a product in a list of products, with the type of the job that made it."""
    shown = product(row, links)
    if row.job_type is not None:
        shown["job_type"] = job_type_brief(row.job_type)
    return shown


def any_file(row: ScaleFile, links: Links) -> JsonObject:
    """Show a file as what it is."""
    return product(row, links) if row.kind == "PRODUCT" else source_file(row, links)


def update(row: FileUpdate) -> JsonObject:
    """Show what happened to a file, and when."""
    return {"action": row.action, "when": moment(row.when)}
