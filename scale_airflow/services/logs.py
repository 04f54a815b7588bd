# SPDX-License-Identifier: Apache-2.0
"""What executions wrote to stdout and stderr: kept in compressed chunks, capped per stream."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from scale_airflow.errors import Fault, InvalidDocument
from scale_airflow.execution.order import KeptOutput, LogChunk, Stream
from scale_airflow.store.models import JobLog, utcnow

STREAMS = {"stdout": 1, "stderr": 2}
#: A chunk's text may be this long once unpacked: what is longer is no log of ours but a bomb.
MAX_CHUNK_BYTES = 4 * 1024 * 1024


def kept_output(session: Session, execution_id: int, stream: Stream) -> KeptOutput:
    """Return how much of a stream is kept."""
    last = session.execute(
        select(JobLog.sequence, JobLog.total)
        .where(JobLog.job_exe_id == execution_id, JobLog.stream == STREAMS[stream])
        .order_by(JobLog.sequence.desc())
        .limit(1)
    ).one_or_none()
    return KeptOutput(0, 0) if last is None else KeptOutput(last.sequence + 1, last.total)


def append_log(session: Session, execution_id: int, chunk: LogChunk, max_log_bytes: int) -> bool:
    """Keep a piece of a stream; a piece that is there already, or past the cap, is let go.

    :returns: whether the stream takes more.
    :raises InvalidDocument: if the chunk can't be read.
    """
    stream = STREAMS[chunk.stream]
    if chunk.sequence < 0:
        raise InvalidDocument("log chunk", [Fault("/sequence", "is negative; pieces are counted from 0")])
    packed, size = _unpack(chunk.data)
    of_stream = JobLog.job_exe_id == execution_id, JobLog.stream == stream
    # The last piece knows how much there is: however long a job talks, no more than one row is read.
    last = session.execute(
        select(JobLog.sequence, JobLog.total)
        .where(*of_stream)
        .order_by(JobLog.sequence.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    kept = last.total if last is not None else 0
    if kept >= max_log_bytes:
        return False
    is_late = last is not None and chunk.sequence < last.sequence
    added = session.execute(
        insert(JobLog)
        .values(
            job_exe_id=execution_id,
            stream=stream,
            sequence=chunk.sequence,
            size=size,
            total=kept + size,
            data=packed,
            created=utcnow(),
        )
        .on_conflict_do_nothing()
        .returning(JobLog.sequence)
    ).first()
    if added is None:
        return True
    if is_late and last is not None:
        behind = update(JobLog).where(*of_stream, JobLog.sequence == last.sequence)
        session.execute(behind.values(total=kept + size))
    return bool(kept + size < max_log_bytes)


def read_log(session: Session, execution_id: int, stream: str) -> Iterator[bytes]:
    """Give what an execution wrote to a stream, piece by piece, in order."""
    rows = session.execute(
        select(JobLog.data)
        .where(JobLog.job_exe_id == execution_id, JobLog.stream == STREAMS[stream])
        .order_by(JobLog.sequence)
        .execution_options(yield_per=16)
    )
    for (packed,) in rows:
        yield zlib.decompress(packed)


def read_logs(session: Session, execution_id: int) -> tuple[str, str]:
    """Return the whole of stdout and of stderr; bytes that are no UTF-8 are shown as U+FFFD."""
    stdout, stderr = (
        b"".join(read_log(session, execution_id, stream)).decode("utf-8", "replace")
        for stream in ("stdout", "stderr")
    )
    return stdout, stderr


def _unpack(data: str) -> tuple[bytes, int]:
    """Return the compressed bytes of a chunk and how long they are unpacked."""
    try:
        packed = base64.b64decode(data, validate=True)
        unpacker = zlib.decompressobj()
        size = len(unpacker.decompress(packed, MAX_CHUNK_BYTES))
    except (binascii.Error, ValueError, zlib.error):
        raise InvalidDocument("log chunk", [Fault("/data", "is not base64 of zlib data")]) from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise InvalidDocument(
            "log chunk", [Fault("/data", f"is cut off, or holds more than {MAX_CHUNK_BYTES} bytes")]
        )
    return packed, size
