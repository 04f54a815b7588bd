# SPDX-License-Identifier: Apache-2.0
"""AsyncRescaleClient: the same as RescaleClient for an event loop; for triggers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx

from scale_airflow.errors import RescaleError
from scale_airflow.rescale.calls import Call, Flow, Pause
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.exchange import Request, exchange
from scale_airflow.rescale.http_settings import (
    MAX_CONCURRENCY,
    USER_AGENT,
    Intake,
    check_concurrency,
    failure_of,
    headers_of,
    http_settings,
    proxy_urls,
    without_cookies,
)
from scale_airflow.rescale.paging import PagedCall, PageWalk
from scale_airflow.rescale.policy import Answer, Failed, RequestPolicy
from scale_airflow.rescale.rates import RateBuckets, shared_buckets

T = TypeVar("T")


class AsyncRescaleClient:
    """Speaks to one server of Rescale's with one key, from one event loop.

    :param credentials: the server and the key, which no text of this client shows.
    :param policy: how long to wait and how often to try.
    :param rates: the rate buckets; None for those that all clients of this process share for the key.
    :param verify: False trusts every certificate; a path names those to trust.
    :param proxies: one for everything, or by scheme. Without, the usual environment variables count.
    :param max_concurrency: connections at once.
    :raises InstallationError: if certificates or proxies can't be used.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        policy: RequestPolicy | None = None,
        rates: RateBuckets | None = None,
        verify: bool | str = True,
        proxies: str | Mapping[str, str] | None = None,
        user_agent: str = USER_AGENT,
        max_concurrency: int = MAX_CONCURRENCY,
    ):
        self.credentials = credentials
        self.policy = policy or RequestPolicy()
        self.rates = rates or shared_buckets(credentials)
        check_concurrency(max_concurrency)
        settings = http_settings(
            self.policy, verify=verify, user_agent=user_agent, max_concurrency=max_concurrency
        )
        urls = proxy_urls(proxies)

        def make(limits: httpx.Limits) -> httpx.AsyncClient:
            mounts = {
                pattern: httpx.AsyncHTTPTransport(verify=settings["verify"], limits=limits, proxy=url)
                for pattern, url in urls.items()
            }
            return without_cookies(httpx.AsyncClient(mounts=mounts, **{**settings, "limits": limits}))

        # httpx looks at all that wait whenever one is done: with hundreds that holds up the event loop.
        self._turns = asyncio.Semaphore(max_concurrency)
        self._http = make(settings["limits"])
        self._fresh = make(httpx.Limits(max_keepalive_connections=0))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    async def __aenter__(self) -> AsyncRescaleClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """Scheme, host and port of the server."""
        return self.credentials.base_url

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._fresh.aclose()

    async def send(self, call: Call[T]) -> T:
        """Carry out a call and return its result.

        :raises RescaleError: of the kind that fits; the policy has tried again by then what may be repeated.
        """
        steps = exchange(call, self.credentials, self.policy, self.rates)
        given: Any = None
        while True:
            try:
                step = steps.send(given)
            except StopIteration as end:
                result: T = end.value
                return result
            given = await self._do(step)

    async def pages(self, call: PagedCall[T]) -> AsyncIterator[T]:
        """Give the rows of a list, fetching page by page.

        :raises RescaleBadAnswer: if the list leads to another server, in a circle, or never ends.
        """
        walk = PageWalk(call, self.base_url)
        while walk.call is not None:
            page = await self.send(walk.call)
            for row in page.results:
                yield row
            walk.turn(page)

    async def all(self, call: PagedCall[T]) -> list[T]:
        """Return all rows of a list."""
        return [row async for row in self.pages(call)]

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a conversation: calls, lists and pauses, until it returns."""
        given: Any = None
        error: RescaleError | None = None
        while True:
            try:
                step = flow.send(given) if error is None else flow.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            given, error = None, None
            try:
                given = await self._take(step)
            except RescaleError as raised:
                error = raised

    async def _take(self, step: Call[Any] | PagedCall[Any] | Pause) -> Any:
        if isinstance(step, PagedCall):
            return await self.all(step)
        return await (self._do(step) if isinstance(step, Pause) else self.send(step))

    async def _do(self, step: Request | Pause) -> Answer | Failed | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        http = self._fresh if step.fresh else self._http
        try:
            async with (
                self._turns,
                http.stream(
                    step.method, step.url, headers=headers_of(step, self.credentials), content=step.body
                ) as response,
            ):
                intake = Intake(response, self.policy)
                async for piece in response.aiter_bytes():
                    if failure := intake.take(piece):
                        return failure
                return intake.answer()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return failure_of(error)
