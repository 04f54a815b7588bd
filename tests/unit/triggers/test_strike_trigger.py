# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.ingest.directory import list_files
from scale_airflow.execution.ingest.watch import digest_of
from scale_airflow.triggers import strike as module
from scale_airflow.triggers.strike import StrikeTrigger

SUFFIX = "_tmp"
DEADLINE = 10.0
# Long enough that only a notification can wake the trigger within the test's deadline.
NEVER = 1000.0


class Server:
    """Answers progress reports as the API server does."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.is_changed = False
        self.is_away = False

    async def request(self, method: str, path: str, *, body: Any = None) -> Any:
        if self.is_away:
            raise ScaleApiError("The Scale API server can't be reached.")
        assert (method, path) == ("POST", "/runtime/strikes/5/progress/")
        self.reports.append(body)
        return {"is_changed": self.is_changed}

    def sizes(self) -> list[tuple[str, int]]:
        return [(file["name"], file["size"]) for report in self.reports for file in report["transferring"]]


@pytest.fixture
def server() -> Server:
    return Server()


def trigger(
    directory: Path | None, interval: float = NEVER, retry_after: float | None = None
) -> StrikeTrigger:
    """A trigger as the sensor leaves it, once all that lies there is handled."""
    seen = list_files(directory) if directory and directory.is_dir() else []
    return StrikeTrigger(
        strike_id=5,
        directory=str(directory) if directory else None,
        transfer_suffix=SUFFIX,
        digest=digest_of(seen, SUFFIX) if directory else digest_of([], SUFFIX),
        version="v1",
        interval=interval,
        retry_after=retry_after,
    )


@pytest.fixture
async def waiting() -> AsyncIterator[Any]:
    """Start triggers whose directory was swept once, and end them afterwards."""
    tasks = []

    async def start(made: StrikeTrigger, server: Server) -> asyncio.Task[str]:
        swept = asyncio.Event()
        listing = made._list

        async def listed() -> Any:
            found = await listing()
            swept.set()
            return found

        made._list = listed  # type: ignore[method-assign]
        task = asyncio.create_task(made.wait(server))  # type: ignore[arg-type]
        tasks.append(task)
        await asyncio.wait_for(swept.wait(), DEADLINE)
        return task

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Any) -> None:
    give_up = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


async def test_a_file_that_was_there_before_fires_at_once(tmp_path: Path, server: Server) -> None:
    made = trigger(tmp_path)
    (tmp_path / "x").touch()
    assert await asyncio.wait_for(made.wait(server), DEADLINE) == "the directory has changed"  # type: ignore[arg-type]


async def test_a_notification_fires_long_before_the_next_sweep(
    tmp_path: Path, server: Server, waiting: Any
) -> None:
    task = await waiting(trigger(tmp_path), server)
    (tmp_path / "x").touch()
    assert await asyncio.wait_for(task, DEADLINE) == "the directory has changed"


async def test_a_sweep_fires_where_there_are_no_notifications(
    tmp_path: Path, server: Server, waiting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **keywords: Any) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(module, "watch", broken)
    task = await waiting(trigger(tmp_path, interval=0.05), server)
    (tmp_path / "x").touch()
    assert await asyncio.wait_for(task, DEADLINE) == "the directory has changed"


async def test_a_growing_transfer_is_reported_and_does_not_fire(
    tmp_path: Path, server: Server, waiting: Any
) -> None:
    arriving = tmp_path / f"x{SUFFIX}"
    arriving.write_bytes(b"1")
    task = await waiting(trigger(tmp_path, interval=0.05), server)
    await until(lambda: ("x", 1) in server.sizes())
    arriving.write_bytes(b"123")
    await until(lambda: ("x", 3) in server.sizes())
    assert server.sizes() == [("x", 1), ("x", 3)]
    assert not task.done()


async def test_the_end_of_a_transfer_fires(tmp_path: Path, server: Server, waiting: Any) -> None:
    (tmp_path / f"x{SUFFIX}").touch()
    task = await waiting(trigger(tmp_path), server)
    os.rename(tmp_path / f"x{SUFFIX}", tmp_path / "x")
    assert await asyncio.wait_for(task, DEADLINE) == "the directory has changed"


async def test_a_transfer_that_vanishes_fires(tmp_path: Path, server: Server, waiting: Any) -> None:
    (tmp_path / f"x{SUFFIX}").touch()
    task = await waiting(trigger(tmp_path), server)
    (tmp_path / f"x{SUFFIX}").unlink()
    assert await asyncio.wait_for(task, DEADLINE) == "the directory has changed"


async def test_a_file_that_could_not_be_moved_does_not_fire_until_it_may_be_tried_again(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / "stuck").touch()
    made = trigger(tmp_path, retry_after=0.1)
    reason = await asyncio.wait_for(made.wait(server), DEADLINE)  # type: ignore[arg-type]
    assert reason == "something is to be tried again"


async def test_an_edit_of_the_strike_process_fires(tmp_path: Path, server: Server, waiting: Any) -> None:
    task = await waiting(trigger(tmp_path, interval=0.05), server)
    await until(lambda: server.reports)
    assert server.reports[0] == {"version": "v1", "transferring": []}
    server.is_changed = True
    assert await asyncio.wait_for(task, DEADLINE) == "the Strike process was changed"


async def test_a_server_that_is_away_is_asked_again(tmp_path: Path, server: Server, waiting: Any) -> None:
    server.is_away = True
    (tmp_path / f"x{SUFFIX}").write_bytes(b"12")
    task = await waiting(trigger(tmp_path, interval=0.02), server)
    server.is_away = False
    await until(lambda: ("x", 2) in server.sizes())
    assert not task.done()


async def test_a_directory_that_can_t_be_read_here_lets_the_sensor_look(
    tmp_path: Path, server: Server
) -> None:
    made = trigger(tmp_path / "nowhere", interval=0.02)
    reason = await asyncio.wait_for(made.wait(server), DEADLINE)  # type: ignore[arg-type]
    assert reason == "the directory can't be read here"


async def test_while_switched_off_only_the_server_is_asked(server: Server, waiting: Any) -> None:
    task = await waiting(trigger(None, interval=0.02), server)
    await until(lambda: len(server.reports) > 2)
    assert not task.done()


async def test_ten_thousand_files_at_once_fire_quickly(tmp_path: Path, server: Server, waiting: Any) -> None:
    task = await waiting(trigger(tmp_path), server)
    for number in range(10_000):
        (tmp_path / f"{number}").touch()
    assert await asyncio.wait_for(task, DEADLINE) == "the directory has changed"


def test_the_triggerer_builds_the_same_trigger_again(tmp_path: Path) -> None:
    made = trigger(tmp_path, retry_after=3.0)
    path, arguments = made.serialize()
    assert path == f"{StrikeTrigger.__module__}.{StrikeTrigger.__name__}"
    assert StrikeTrigger(**arguments).serialize() == (path, arguments)
