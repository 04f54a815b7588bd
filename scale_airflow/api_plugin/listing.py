# SPDX-License-Identifier: Apache-2.0
"""Lists: their common query parameters, and their answer ``{"count", "next", "previous", "results"}``.

An endpoint takes ``window: Annotated[Window, ordered_by(FIELDS)]``, gives it to the service that looks the
page up (see :mod:`scale_airflow.services.listing`) and answers with :func:`page_of`.

What only reads parameters is ``async``: FastAPI would give each plain function to a thread of its own.
"""

# Annotations are not postponed here: FastAPI reads those that name what is local.
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Query, Request

from scale_airflow.api_plugin.errors import note
from scale_airflow.api_plugin.links import links_of
from scale_airflow.api_plugin.parameters import Moment, Page, PageSize
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.errors import Fault
from scale_airflow.services.listing import Found, Window, order_faults, range_faults

T = TypeVar("T")

_DURATION_TOO = "An ISO-8601 datetime with its zone, or an ISO-8601 duration, which means now minus it."

Rule = Callable[[Window], list[Fault]]


async def pages(
    page: Annotated[Page, Query(description="The page of the results to return, from 1 on.")] = 1,
    page_size: Annotated[PageSize, Query(description="Results on a page, 1 to 1000.")] = 100,
) -> Window:
    """Read the parameters of a list that has pages, but neither a time range nor an order."""
    return Window(page, page_size)


PagesDep = Annotated[Window, Depends(pages)]


def in_time(rule: Rule = range_faults) -> Any:
    """Return the dependency of a list that has pages and a time range, but an order of its own.

    What is wrong with the range is noted; the list's service refuses it.

    :param rule: returns what is wrong with a range.
    """

    # A dependency of its own: it is asked also where the page is wrong.
    async def time_range(
        request: Request,
        started: Annotated[Moment, Query(description=f"The start of the time range. {_DURATION_TOO}")] = None,
        ended: Annotated[Moment, Query(description=f"The end of the time range. {_DURATION_TOO}")] = None,
    ) -> Window:
        wanted = Window(started=started, ended=ended)
        note(request, rule(wanted))
        return wanted

    async def window(page: PagesDep, time: Annotated[Window, Depends(time_range)]) -> Window:
        return replace(page, started=time.started, ended=time.ended)

    return Depends(window)


def ordered_by(fields: Collection[str], rule: Rule = range_faults) -> Any:
    """Return the dependency that reads the parameters which most lists have.

    What is wrong with the range and the order is noted; the list's service refuses it.

    :param fields: the names of what the list may be ordered by.
    :param rule: as for :func:`in_time`.
    """

    async def in_order(
        request: Request,
        order: Annotated[
            list[str],
            Query(
                description="Field of the answer to order by; repeat it for several, a leading `-` reverses, "
                "`__` stands before a nested field (`job_type__name`)."
            ),
        ] = [],  # noqa: B006 - FastAPI copies it
    ) -> tuple[str, ...]:
        wanted = Window(order=tuple(filter(None, order)))
        note(request, order_faults(wanted, fields))
        return wanted.order

    async def window(
        wanted: Annotated[Window, in_time(rule)], order: Annotated[tuple[str, ...], Depends(in_order)]
    ) -> Window:
        return replace(wanted, order=order)

    return Depends(window)


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
