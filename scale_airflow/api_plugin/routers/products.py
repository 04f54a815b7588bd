# SPDX-License-Identifier: Apache-2.0
"""Product services: files that jobs made, and what happened to them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.filters import JobTypesDep
from scale_airflow.api_plugin.links import LinksDep
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import Flag, Text
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views.files import product_in_list, source_file, update
from scale_airflow.services import file_lists
from scale_airflow.services.file_lists import FileUpdate, ProductFilter
from scale_airflow.services.listing import Window
from scale_airflow.store.session import transaction

router = APIRouter(tags=["Products"], dependencies=[Depends(requires("GET", "Scale Products"))])


async def product_filter(
    job_types: JobTypesDep,
    is_operational: Annotated[
        Flag, Query(description="Only operational products, or only those of research and development.")
    ] = None,
    file_name: Annotated[Text, Query(description="Only products with this file name.")] = None,
) -> ProductFilter:
    """Read the filters of both lists of products."""
    return ProductFilter(job_types, is_operational, file_name)


ProductFilterDep = Annotated[ProductFilter, Depends(product_filter)]


@router.get("/products/", summary="Product list")
def list_products(
    request: Request,
    links: LinksDep,
    window: Annotated[Window, ordered_by(file_lists.PRODUCT_FIELDS)],
    wanted: ProductFilterDep,
) -> Reply:
    """Return all products that have been published, in the order of `last_modified` unless told otherwise."""
    with transaction() as session:
        found = file_lists.list_products(session, wanted, window)
        return page_of(request, window, found, lambda row: product_in_list(row, links))


@router.get("/products/updates/", summary="Product updates")
def list_product_updates(
    request: Request,
    links: LinksDep,
    window: Annotated[Window, ordered_by({*file_lists.PRODUCT_FIELDS, *file_lists.UPDATE_FIELDS})],
    wanted: ProductFilterDep,
) -> Reply:
    """Return what happened to products (`PUBLISHED`, `UNPUBLISHED`, `DELETED`) in the time range."""
    with transaction() as session:
        found = file_lists.list_product_updates(session, wanted, window)
        sources = file_lists.source_files_of(session, [row.file.id for row in found.items])

        def shown(row: FileUpdate) -> dict[str, Any]:
            return {
                **product_in_list(row.file, links),
                "update": update(row),
                "source_files": [source_file(each, links) for each in sources[row.file.id]],
            }

        return page_of(request, window, found, shown)
