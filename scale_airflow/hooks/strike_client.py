# SPDX-License-Identifier: Apache-2.0
"""What the tasks and triggers of Strike processes say to the API server (``/scale/api/runtime/strikes/``)."""

from __future__ import annotations

from typing import Any, TypeVar

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.ingest.messages import (
    BatchAnswer,
    BatchRequest,
    ClearedRequest,
    Done,
    FinishRequest,
    MovedAnswer,
    MovedRequest,
    PlanAnswer,
    PlanRequest,
    ProgressAnswer,
    ProgressRequest,
    SettleAnswer,
    SettleRequest,
    StoredAnswer,
    StoredRequest,
    SweepAnswer,
    SweepRequest,
    WatchAnswer,
    WatchRequest,
)
from scale_airflow.execution.wire import Message, MessageError
from scale_airflow.hooks.async_client import AsyncScaleClient
from scale_airflow.hooks.client import ScaleClient

AnswerT = TypeVar("AnswerT", bound=Message)


class StrikeClient:
    """Speaks for one Strike process with the workers' secret; every call may be repeated.

    Implements :class:`~scale_airflow.execution.ingest.server.StrikeServer`.
    """

    def __init__(self, client: ScaleClient, strike_id: int):
        self._client = client
        self._path = strike_path(strike_id)

    def __repr__(self) -> str:
        return f"StrikeClient({self._client!r}, {self._path!r})"

    def watch(self, request: WatchRequest) -> WatchAnswer:
        """Begin a look at the directory."""
        return self._post("watch", request, WatchAnswer)

    def sweep(self, request: SweepRequest) -> SweepAnswer:
        """Record what a part of the directory's listing shows."""
        return self._post("sweep", request, SweepAnswer)

    def moved(self, request: MovedRequest) -> MovedAnswer:
        """Record what became of moves."""
        return self._post("moved", request, MovedAnswer)

    def settle(self, request: SettleRequest) -> SettleAnswer:
        """End a look at the directory."""
        return self._post("settle", request, SettleAnswer)

    def batch(self, request: BatchRequest) -> BatchAnswer:
        """Take files to ingest."""
        return self._post("batch", request, BatchAnswer)

    def cleared(self, request: ClearedRequest) -> None:
        """Record what was cleared out of the directory."""
        self._post("cleared", request, Done)

    def running(self, execution_id: int, token: str) -> BatchClient:
        """Return the client for the reports of one batch."""
        return BatchClient(self._client, self._path, execution_id, token)

    def _post(self, what: str, request: Message, answer: type[AnswerT]) -> AnswerT:
        document = self._client.request(
            "POST", f"{self._path}/{what}/", body=request.to_dict(), repeatable=True
        )
        return read_answer(answer, document)


class BatchClient:
    """Speaks for one batch with its own token; every call may be repeated.

    Implements :class:`~scale_airflow.execution.ingest.server.BatchServer`.
    """

    def __init__(self, client: ScaleClient, strike_path: str, execution_id: int, token: str):
        self._client = client
        self._path = f"{strike_path}/batch/{execution_id}"
        self._token = token

    def __repr__(self) -> str:
        return f"BatchClient({self._client!r}, {self._path!r})"

    def plan(self, request: PlanRequest) -> PlanAnswer:
        """Decide where files with these contents go."""
        return self._post("plan", request, PlanAnswer)

    def stored(self, request: StoredRequest) -> StoredAnswer:
        """Commit what became of files."""
        return self._post("stored", request, StoredAnswer)

    def finish(self, request: FinishRequest) -> None:
        """End the batch's job."""
        self._post("finish", request, Done)

    def _post(self, what: str, request: Message, answer: type[AnswerT]) -> AnswerT:
        document = self._client.request(
            "POST", f"{self._path}/{what}/", body=request.to_dict(), token=self._token, repeatable=True
        )
        return read_answer(answer, document)


async def report_progress(
    client: AsyncScaleClient, strike_id: int, request: ProgressRequest
) -> ProgressAnswer:
    """Report from a trigger how far transfers are.

    :raises ScaleApiError: if the server can't be reached or answers an error.
    """
    path = f"{strike_path(strike_id)}/progress/"
    return read_answer(ProgressAnswer, await client.request("POST", path, body=request.to_dict()))


def strike_path(strike_id: int) -> str:
    """Return the path of a Strike process's runtime endpoints."""
    return f"/runtime/strikes/{int(strike_id)}"


def read_answer(kind: type[AnswerT], document: Any) -> AnswerT:
    """Read an answer.

    :raises ScaleApiError: if it has another form than this version understands.
    """
    try:
        return kind.from_dict(document)
    except MessageError as error:
        raise ScaleApiError(
            f"The API server's answer can't be understood; do both run the same version? {error}"
        ) from None
