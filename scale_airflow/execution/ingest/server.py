# SPDX-License-Identifier: Apache-2.0
"""The API server as the tasks of one Strike process see it."""

from __future__ import annotations

from typing import Protocol

from scale_airflow.execution.ingest.messages import (
    BatchAnswer,
    BatchRequest,
    ClearedRequest,
    FinishRequest,
    MovedAnswer,
    MovedRequest,
    PlanAnswer,
    PlanRequest,
    SettleAnswer,
    SettleRequest,
    StoredAnswer,
    StoredRequest,
    SweepAnswer,
    SweepRequest,
    WatchAnswer,
    WatchRequest,
)


class StrikeServer(Protocol):
    """Answers for one Strike process. Each call is one transaction, and may be repeated without harm.

    Every method raises :class:`~scale_airflow.errors.ScaleApiError` if the server can't be reached or
    refuses.
    """

    def watch(self, request: WatchRequest) -> WatchAnswer:
        """Begin a look at the directory."""

    def sweep(self, request: SweepRequest) -> SweepAnswer:
        """Record what a part of the directory's listing shows."""

    def moved(self, request: MovedRequest) -> MovedAnswer:
        """Record what became of moves."""

    def settle(self, request: SettleRequest) -> SettleAnswer:
        """End a look at the directory."""

    def batch(self, request: BatchRequest) -> BatchAnswer:
        """Take files to ingest."""

    def cleared(self, request: ClearedRequest) -> None:
        """Record what was cleared out of the directory."""

    def running(self, execution_id: int, token: str) -> BatchServer:
        """Return the same server for the reports of one batch."""


class BatchServer(Protocol):
    """Answers for one batch, to whoever holds its token."""

    def plan(self, request: PlanRequest) -> PlanAnswer:
        """Decide where files with these contents go."""

    def stored(self, request: StoredRequest) -> StoredAnswer:
        """Commit what became of files."""

    def finish(self, request: FinishRequest) -> None:
        """End the batch's job."""
