# SPDX-License-Identifier: Apache-2.0
"""Pages of a list: ten unless asked, a thousand at most, with absolute links to the neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from multidict import MultiMapping
from yarl import URL

from scale_airflow.rescale.emulator.refusals import not_found

T = TypeVar("T")

PAGE_SIZE = 10
LARGEST_PAGE = 1000


def page_of(items: Sequence[T], url: URL, show: Callable[[T], Any]) -> dict[str, Any]:
    """Return the page that the URL asks for, as ``{count, next, previous, results}``.

    :param url: of the request, with the host that the client knows.
    :param show: makes an item's document; called for those of the page only.
    :raises RefusedError: 404 "Invalid page." for a page that does not exist.
    """
    size = page_size(url.query)
    pages = max(1, -(-len(items) // size))
    number = _page_number(url.query.get("page", "1"), pages)
    return {
        "count": len(items),
        "next": str(url.update_query(page=number + 1)) if number < pages else None,
        "previous": _previous(url, number),
        "results": [show(one) for one in items[(number - 1) * size : number * size]],
    }


def page_size(query: MultiMapping[str]) -> int:
    """Return the asked number of items; a number that is none is ignored, as the service does."""
    text = query.get("page_size", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) == 0:
        return PAGE_SIZE
    return min(int(text), LARGEST_PAGE)


def _page_number(text: str, pages: int) -> int:
    if text == "last":
        return pages
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= pages:
        raise not_found("Invalid page.")
    return int(text)


def _previous(url: URL, number: int) -> str | None:
    if number == 1:
        return None
    return str(url.without_query_params("page") if number == 2 else url.update_query(page=number - 1))
