# SPDX-License-Identifier: Apache-2.0
"""What executions write is kept in order, once, up to a limit, however long they talk."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session
from world import World

from scale_airflow.errors import InvalidDocument
from scale_airflow.execution.order import KeptOutput, LogChunk
from scale_airflow.services.events import user_event
from scale_airflow.services.logs import append_log, kept_output, read_logs
from scale_airflow.services.queue import queue_job


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def execution_id(world: World) -> int:
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(
        world.session, job_type=world.job_type("one"), data=data, event=user_event(world.session, "me")
    )
    world.session.commit()
    return world.execution(job).id


def piece(sequence: int, data: bytes, stream: str = "stdout") -> LogChunk:
    return LogChunk(stream, sequence, base64.b64encode(zlib.compress(data)).decode())  # type: ignore[arg-type]


def test_pieces_are_read_in_order_whatever_order_they_come_in(world: World, execution_id: int) -> None:
    for sequence in (0, 3, 1, 3, 2):
        append_log(world.session, execution_id, piece(sequence, f"{sequence}\n".encode()), 1000)
    append_log(world.session, execution_id, piece(0, b"err\n", "stderr"), 1000)
    assert read_logs(world.session, execution_id) == ("0\n1\n2\n3\n", "err\n")


def test_another_worker_learns_how_much_there_is(world: World, execution_id: int) -> None:
    assert kept_output(world.session, execution_id, "stdout") == KeptOutput(0, 0)
    for sequence in (0, 1):
        append_log(world.session, execution_id, piece(sequence, b"x" * 40), 100)
    assert kept_output(world.session, execution_id, "stdout") == KeptOutput(2, 80)
    assert kept_output(world.session, execution_id, "stderr") == KeptOutput(0, 0)


def test_what_is_kept_has_a_limit_in_any_order(world: World, execution_id: int) -> None:
    answers = [
        append_log(world.session, execution_id, piece(sequence, b"x" * 40), 100)
        for sequence in (9, 8, 7, 6, 5)
    ]
    assert answers == [True, True, False, False, False]
    assert len(read_logs(world.session, execution_id)[0]) == 120
    assert append_log(world.session, execution_id, piece(0, b"x", "stderr"), 100), "each stream has its own"


def test_a_repeated_piece_is_not_counted_twice(world: World, execution_id: int) -> None:
    for _ in range(5):
        assert append_log(world.session, execution_id, piece(0, b"x" * 40), 100)
    assert append_log(world.session, execution_id, piece(1, b"x" * 40), 100)
    assert not append_log(world.session, execution_id, piece(2, b"x" * 40), 100)


@pytest.mark.parametrize("data", ["", "!", base64.b64encode(b"no zlib").decode(), "eJw="])
def test_what_can_not_be_read_is_refused(world: World, execution_id: int, data: str) -> None:
    with pytest.raises(InvalidDocument):
        append_log(world.session, execution_id, LogChunk("stdout", 0, data), 100)


def test_a_long_log_makes_no_piece_dearer(world: World, execution_id: int) -> None:
    world.session.execute(
        text(
            "INSERT INTO scale_job_log (job_exe_id, stream, sequence, size, total, data, created) "
            "SELECT :id, 1, number, 1, number + 1, '', now() FROM generate_series(0, 20000) AS number"
        ),
        {"id": execution_id},
    )
    world.session.execute(text("ANALYZE scale_job_log"))
    plans = []
    connection = world.session.connection()

    def explain(conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "FROM scale_job_log" in statement and not statement.startswith("EXPLAIN"):
            rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {statement}", parameters)  # type: ignore[arg-type]
            plans.append("\n".join(row[0] for row in rows))

    event.listen(connection, "before_cursor_execute", explain)
    try:
        assert append_log(world.session, execution_id, piece(20001, b"x"), 10**9)
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    (plan,) = plans
    assert "Index Scan Backward" in plan
    assert "rows=1.00 loops=1" in plan or "rows=1 loops=1" in plan
