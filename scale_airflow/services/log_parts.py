# SPDX-License-Identifier: Apache-2.0
"""Parts of what executions wrote: since a moment, or the last lines, without reading the rest."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from scale_airflow.services.logs import STREAMS
from scale_airflow.store.models import JobLog


@dataclass(frozen=True, slots=True)
class LogPart:
    """Which part of a log is wanted; the whole by default.

    :param since: only what arrived from then on.
    :param tail: only the last lines, this many.
    """

    since: datetime | None = None
    tail: int | None = None

    def read(self, session: Session, execution_id: int, stream: str) -> Iterator[bytes]:
        """Give the part of a stream (``stdout`` or ``stderr``) piece by piece, in order."""
        statement = select(JobLog.data).where(
            JobLog.job_exe_id == execution_id, JobLog.stream == STREAMS[stream]
        )
        if self.since is not None:
            statement = statement.where(JobLog.created >= self.since)
        if self.tail is not None:
            yield from _last_lines(session, statement, self.tail)
            return
        rows = session.scalars(statement.order_by(JobLog.sequence).execution_options(yield_per=16))
        for packed in rows:
            yield zlib.decompress(packed)

    def text(self, session: Session, execution_id: int, stream: str) -> str:
        """Return the part of a stream as text; bytes that are no UTF-8 are shown as U+FFFD."""
        return b"".join(self.read(session, execution_id, stream)).decode("utf-8", "replace")


def _last_lines(session: Session, statement: Select[Any], lines: int) -> list[bytes]:
    """Return the last lines, reading backwards no further than needed."""
    pieces: list[bytes] = []
    ends = 0
    for packed in session.scalars(statement.order_by(JobLog.sequence.desc()).execution_options(yield_per=4)):
        piece = zlib.decompress(packed)
        pieces.insert(0, piece)
        ends += piece.count(b"\n")
        if ends > lines:  # one more than asked for: it ends the line before the first one wanted
            break
    # Only "\n" ends a line: a progress bar that returns the carriage stays one.
    *whole, rest = b"".join(pieces).split(b"\n")
    found = [line + b"\n" for line in whole] + ([rest] if rest else [])
    return found[-lines:] if lines else []
