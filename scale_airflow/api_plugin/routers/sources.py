# SPDX-License-Identifier: Apache-2.0
"""Source file services: files that were ingested, and what happened to them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import Flag, Text
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views.files import source_file, update
from scale_airflow.services import file_lists
from scale_airflow.services.file_lists import SourceFilter
from scale_airflow.services.listing import Window
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Sources"], dependencies=[Depends(requires("GET", "Scale Sources"))])


async def source_filter(
    is_parsed: Annotated[Flag, Query(description="Only sources that were parsed, or were not.")] = None,
    file_name: Annotated[Text, Query(description="Only sources with this file name.")] = None,
) -> SourceFilter:
    """Read the filters of both lists of sources."""
    return SourceFilter(is_parsed, file_name)


SourceFilterDep = Annotated[SourceFilter, Depends(source_filter)]


@router.get("/sources/", summary="Source file list")
def list_sources(
    request: Request,
    links: LinksDep,
    window: Annotated[Window, ordered_by(file_lists.SOURCE_FIELDS)],
    wanted: SourceFilterDep,
) -> Reply:
    """Return all source files, in the order of `last_modified` unless another is asked for."""
    with transaction() as session:
        found = file_lists.list_sources(session, wanted, window)
        return page_of(request, window, found, lambda row: source_file(row, links))


@router.get("/sources/updates/", summary="Source file updates")
def list_source_updates(
    request: Request,
    links: LinksDep,
    window: Annotated[Window, ordered_by({*file_lists.SOURCE_FIELDS, *file_lists.UPDATE_FIELDS})],
    wanted: SourceFilterDep,
) -> Reply:
    """Return what happened to source files (`CREATED`, `PARSED`, `DELETED`) in the time range."""
    with transaction() as session:
        found = file_lists.list_source_updates(session, wanted, window)
        return page_of(
            request, window, found, lambda row: {**source_file(row.file, links), "update": update(row)}
        )
