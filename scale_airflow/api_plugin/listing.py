# SPDX-License-Identifier: Apache-2.0
"""Lists: their common query parameters, and their answer ``{"count", "next", "previous", "results"}``.

An endpoint takes ``window: WindowDep``, gives it to the service that looks the page up (see
:mod:`scale_airflow.services.listing`) and answers with :func:`page_of`.

What only reads parameters is ``async``: FastAPI would give each plain function to a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Query, Request

from scale_airflow.api_plugin.errors import note
from scale_airflow.api_plugin.links import links_of
from scale_airflow.api_plugin.parameters import Moment, Page, PageSize
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.services.listing import Found, Window, range_faults

T = TypeVar("T")

_DURATION_TOO = "An ISO-8601 datetime with its zone, or an ISO-8601 duration, which means now minus it."


async def window(
    request: Request,
    page: Annotated[Page, Query(description="The page of the results to return, from 1 on.")] = 1,
    page_size: Annotated[PageSize, Query(description="Results on a page, 1 to 1000.")] = 100,
    started: Annotated[Moment, Query(description=f"The start of the time range. {_DURATION_TOO}")] = None,
    ended: Annotated[Moment, Query(description=f"The end of the time range. {_DURATION_TOO}")] = None,
    order: Annotated[
        list[str],
        Query(
            description="Field of the answer to order by; repeat it for several, a leading `-` reverses, "
            "`__` stands before a nested field (`job_type__name`)."
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Window:
    """Read the parameters that all lists have."""
    return _with_range(request, Window(page, page_size, started, ended, tuple(filter(None, order))))


def _with_range(request: Request, wanted: Window) -> Window:
    """Take note of a range that ends before it starts; the list's service refuses it."""
    note(request, range_faults(wanted))
    return wanted


async def pages(
    page: Annotated[Page, Query(description="The page of the results to return, from 1 on.")] = 1,
    page_size: Annotated[PageSize, Query(description="Results on a page, 1 to 1000.")] = 100,
) -> Window:
    """Read the parameters of a list that has pages, but neither a time range nor an order."""
    return Window(page, page_size)


async def pages_of_time(
    request: Request,
    page: Annotated[Page, Query(description="The page of the results to return, from 1 on.")] = 1,
    page_size: Annotated[PageSize, Query(description="Results on a page, 1 to 1000.")] = 100,
    started: Annotated[Moment, Query(description=f"The start of the time range. {_DURATION_TOO}")] = None,
    ended: Annotated[Moment, Query(description=f"The end of the time range. {_DURATION_TOO}")] = None,
) -> Window:
    """Read the parameters of a list that has pages and a time range, but an order of its own."""
    return _with_range(request, Window(page, page_size, started, ended))


WindowDep = Annotated[Window, Depends(window)]
PagesDep = Annotated[Window, Depends(pages)]
PagesOfTimeDep = Annotated[Window, Depends(pages_of_time)]


def page_of(request: Request, wanted: Window, found: Found[T], view: Callable[[T], Any]) -> Reply:
    """Answer one page of a list.

    :param view: makes the answer's form of one result; it is called here, inside the transaction.
    """
    last = wanted.page * wanted.page_size >= found.count
    return Reply(
        {
            "count": found.count,
            "next": None if last else _address(request, wanted.page + 1),
            "previous": None if wanted.page == 1 else _address(request, wanted.page - 1),
            "results": [view(item) for item in found.items],
        }
    )


def _address(request: Request, page: int) -> str:
    query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in query if name != "page"]
    root_path = request.scope.get("root_path", "")
    path = request.scope["path"].removeprefix(root_path)
    return f"{links_of(request).root}{path}?{urlencode([*kept, ('page', page)])}"
