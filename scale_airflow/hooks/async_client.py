# SPDX-License-Identifier: Apache-2.0
"""The API server as triggers see it: asynchronous, and one try a call, since triggers try again anyway."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.order import ClaimRequest, ReserveAnswer
from scale_airflow.execution.wire import MessageError
from scale_airflow.hooks.client import API, CONNECT_TIMEOUT, READ_TIMEOUT, error_of, shown_url, unreachable


class AsyncScaleClient:
    """Speaks to one Scale API server from an event loop; use it as an asynchronous context manager.

    :param base_url: the Airflow API server with its path prefix.
    :param token: sent as ``Authorization: Bearer``; never part of a text.
    """

    def __init__(self, base_url: str, token: str | None, *, verify: bool | str = True):
        self.base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            headers={"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
            verify=verify,
        )

    def __repr__(self) -> str:
        return f"AsyncScaleClient({shown_url(self.base_url)!r})"

    async def __aenter__(self) -> AsyncScaleClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, *, body: Any = None) -> Any:
        """Send a request once and return the parsed JSON of the answer.

        :raises ScaleApiError: if the server can't be reached or answers an error.
        """
        try:
            response = await self._http.request(method, f"{self.base_url}{API}{path}", json=body)
        except httpx.HTTPError as error:
            raise ScaleApiError(unreachable(self.base_url, error)) from None
        try:
            document = response.json() if response.content else None
        except ValueError:
            document = None
        if not response.is_success:
            raise error_of(response.status_code, document, method, path)
        return document

    async def reserve(self, request: ClaimRequest) -> ReserveAnswer:
        """Ask whether there is room by now for a task that was told to wait."""
        answer = await self.request("POST", "/runtime/reserve/", body=request.to_dict())
        try:
            return ReserveAnswer.from_dict(answer)
        except MessageError as error:
            raise ScaleApiError(f"The API server's answer can't be understood: {error}") from None
