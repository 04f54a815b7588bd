# SPDX-License-Identifier: Apache-2.0
"""Lists that come in pages: how to ask for the next one without letting the answer say where to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from scale_airflow.errors import RescaleBadAnswer
from scale_airflow.rescale.calls import Call, Scope
from scale_airflow.rescale.origins import Address, address_of

T = TypeVar("T")

# DRF cuts a larger size down to its own maximum; so many pages hold more than anybody has.
PAGE_SIZE = 1000
MAX_PAGES = 1000


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list.

    :param count: how many rows the whole list has, as far as Rescale says so.
    :param next: the address of the next page, None at the end.
    """

    count: int
    next: str | None
    results: tuple[T, ...]


@dataclass(frozen=True)
class PagedCall(Generic[T]):
    """A list of Rescale's, whether it comes in pages or (prices, directories, regions) as one bare list.

    :param parse_row: makes one result of one row.
    :param tolerate: statuses that mean an empty list.
    :param page_size: rows a page; None leaves it to Rescale (10).
    """

    path: str
    parse_row: Callable[[Any], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    scope: Scope = Scope.USER
    job_id: str | None = None
    tolerate: frozenset[int] = frozenset()
    flaky: frozenset[int] = frozenset()
    page_size: int | None = PAGE_SIZE

    def first(self) -> Call[Page[T]]:
        """Return the call for the first page."""
        query = dict(self.query)
        if self.page_size is not None:
            query.setdefault("page_size", self.page_size)
        return self._call(query)

    def following(self, next_url: str, base_url: str) -> Call[Page[T]]:
        """Return the call for the page at an address that an answer gave.

        Only the parameters of that address are used, and only if it is the same list of the same server: the
        key is never sent where an answer says.

        :raises RescaleBadAnswer: if the address is another server's or another list's.
        """
        asked = f"{base_url}/api/v2/{self.path}"
        own, other = address_of(asked), address_of(next_url, asked)
        if other is None or own is None or not _same_list(own, other):
            raise RescaleBadAnswer(
                f"GET {self.path}: the next page is said to be at {_shown(other)}, "
                "which is not the list that was asked for. It was not followed.",
                job_id=self.job_id,
            )
        return self._call(dict(parse_qsl(other.query, keep_blank_values=True)))

    def _call(self, query: Mapping[str, Any]) -> Call[Page[T]]:
        return Call(
            "GET",
            self.path,
            self._parse,
            query=query,
            scope=self.scope,
            job_id=self.job_id,
            tolerate=self.tolerate,
            flaky=self.flaky,
        )

    def _parse(self, document: Any) -> Page[T]:
        if document is None:
            return Page(0, None, ())
        if isinstance(document, list):
            return Page(len(document), None, tuple(map(self.parse_row, document)))
        rows = document.get("results") if isinstance(document, dict) else None
        if not isinstance(rows, list):
            raise RescaleBadAnswer(f"GET {self.path}: the answer is no list.", job_id=self.job_id)
        following, count = document.get("next"), document.get("count")
        return Page(
            count if isinstance(count, int) else len(rows),
            following if isinstance(following, str) and following else None,
            tuple(map(self.parse_row, rows)),
        )


def _same_list(one: Address, other: Address) -> bool:
    # Behind a proxy a server does not know that it is spoken to over TLS, nor at which port.
    return one.host == other.host and one.path.rstrip("/") == other.path.rstrip("/")


def _shown(address: Address | None) -> str:
    return f"{address.host}:{address.port}{address.path}" if address else "an address that is none"


class PageWalk(Generic[T]):
    """Goes through the pages of a list; both clients walk it in the same way.

    :param base_url: the server's address, which ``next`` may not leave.
    """

    def __init__(self, paged: PagedCall[T], base_url: str):
        self._paged = paged
        self._base_url = base_url
        self._seen: set[str] = set()
        self.call: Call[Page[T]] | None = paged.first()

    def turn(self, page: Page[T]) -> None:
        """Set ``call`` to the page after this one, None at the end.

        :raises RescaleBadAnswer: if pages lead in a circle, elsewhere, or never end.
        """
        if page.next is None:
            self.call = None
            return
        if page.next in self._seen or len(self._seen) >= MAX_PAGES:
            raise RescaleBadAnswer(
                f"GET {self._paged.path}: the list does not end after {len(self._seen) + 1} pages.",
                job_id=self._paged.job_id,
            )
        self._seen.add(page.next)
        self.call = self._paged.following(page.next, self._base_url)
