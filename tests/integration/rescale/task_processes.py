# SPDX-License-Identifier: Apache-2.0
"""Workers and triggerers as processes that can be killed, around the real operator, hook and trigger.

What Airflow does around them (the context, the state store, deferring and resuming) is done here with files,
so that a process lives for a tenth of a second instead of ten; the tests with a real Airflow are elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from scale_airflow.rescale.emulator.process import EmulatorProcess

T = TypeVar("T")
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["scale_airflow.operators.rescale", "scale_airflow.triggers.rescale", "airflow.sdk"]
)


def wait_for(look: Callable[[], T], seconds: float = 20.0, what: str = "") -> T:
    """Look until there is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Task:
    """A task instance that is tried again and again.

    :param folder: where its state store, its log and its outcomes lie.
    :param arguments: of RescaleSubmitJobOperator.
    :param kill_at: a step before or after which the worker kills itself: ``create.before`` …
    """

    base_url: str
    api_key: str
    folder: Path
    arguments: dict[str, Any]
    try_number: int = 1
    retries: int = 3
    max_tries: int = 3
    kill_at: str = ""
    cluster_grace: float = 60.0
    patience: dict[str, float] = field(
        default_factory=lambda: {"grace": 0.3, "settling": 0.1, "stopping": 5.0, "away": 20.0}
    )

    @property
    def log(self) -> str:
        """What the tries wrote to the task's log."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def memory(self) -> dict[str, Any] | None:
        """What is in the state store."""
        return FileStore(self.folder).get("rescale_job")

    def start(
        self, event: dict[str, Any] | None = None, next_kwargs: dict[str, Any] | None = None
    ) -> Process:
        """Start a worker."""
        return Process(_work, self, event, next_kwargs or {})

    def run(self, event: dict[str, Any] | None = None, next_kwargs: dict[str, Any] | None = None) -> Outcome:
        """Run a worker to its end."""
        return self.start(event, next_kwargs).outcome()

    def next_try(self, **changes: Any) -> Task:
        """The task in its next try."""
        return replace(self, try_number=self.try_number + 1, kill_at="", **changes)


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    :param killed: by SIGKILL.
    :param trigger: class path and arguments, if the task deferred itself.
    """

    killed: bool = False
    result: Any = None
    error: str = ""
    error_kind: str = ""
    trigger: dict[str, Any] | None = None
    next_kwargs: dict[str, Any] = field(default_factory=dict)
    event: dict[str, Any] | None = None


class Process:
    """One process of a task, a worker's or a triggerer's."""

    def __init__(self, target: Callable[..., None], task: Task, *arguments: Any) -> None:
        self._file = task.folder / f"outcome-{time.monotonic_ns()}"
        self.process = _processes.Process(target=target, args=(task, self._file, *arguments))
        self.process.start()

    def outcome(self, seconds: float = 60.0) -> Outcome:
        """Wait for the end."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise AssertionError("the process did not end")
        if self.process.exitcode == -signal.SIGKILL:
            return Outcome(killed=True)
        assert self.process.exitcode == 0, self.process.exitcode
        return Outcome(**json.loads(self._file.read_text()))

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; after SIGKILL wait for the end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, how)
        if how is signal.SIGKILL:
            self.process.join(20)


def start_trigger(task: Task, trigger: dict[str, Any]) -> Process:
    """Start a triggerer that runs one trigger to its event."""
    return Process(_trigger, task, trigger, False)


def kill_by_user(task: Task, trigger: dict[str, Any]) -> Outcome:
    """Do in a triggerer what it does when a user clears a deferred task."""
    return Process(_trigger, task, trigger, True).outcome()


class FileStore:
    """The task state store, in a file that is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"

    def _all(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({**self._all(), key: value}))
        fresh.replace(self._path)


class _Log:
    """Writes each line at once, so that it is there when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _write(self, text: str, *values: Any) -> None:
        with self._path.open("a") as file:
            file.write((text % values if values else text) + "\n")

    info = warning = error = debug = _write


class _TaskInstance(SimpleNamespace):
    def xcom_push(self, key: str, value: Any) -> None:
        with (self.folder / "xcoms").open("a") as file:
            file.write(json.dumps([self.try_number, key, value]) + "\n")


def _prepare(task: Task) -> None:
    os.environ["AIRFLOW_CONN_RESCALE_DEFAULT"] = json.dumps(
        {"conn_type": "rescale", "host": task.base_url, "password": task.api_key}
    )


def _shorten(task: Task) -> None:
    """Make a minute's grace shorter, in this process, and have triggers fire at once."""
    from scale_airflow.rescale import cadence, verdict
    from scale_airflow.triggers import settling

    settling.LONG_SETTLING_PAUSE = 0.0
    cadence.FAILURE_PAUSE = 0.2
    verdict.Watch.__init__.__kwdefaults__["grace"] = task.cluster_grace


def _work(task: Task, file: Path, event: dict[str, Any] | None, next_kwargs: dict[str, Any]) -> None:
    """A worker: one try, or its part after a deferral."""
    from airflow.sdk import DAG
    from airflow.sdk.bases.operator import ExecutorSafeguard
    from airflow.sdk.exceptions import TaskDeferred

    from scale_airflow.operators.rescale import RescaleSubmitJobOperator
    from scale_airflow.rescale.submission import Patience

    _prepare(task)
    _shorten(task)
    with DAG("wing", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        operator = RescaleSubmitJobOperator(task_id="simulate", retries=task.retries, **task.arguments)
    operator.patience = Patience(**task.patience)
    RescaleSubmitJobOperator.log = _Log(task.folder / "log")
    ti = _TaskInstance(
        dag_id="wing",
        run_id=task.folder.name,
        task_id="simulate",
        map_index=-1,
        try_number=task.try_number,
        max_tries=task.max_tries,
        task=operator,
        folder=task.folder,
    )
    run = SimpleNamespace(start_date=datetime.now(timezone.utc) - timedelta(minutes=5))
    context: Any = {"ti": ti, "dag_run": run, "task_state_store": FileStore(task.folder)}
    signal.signal(signal.SIGTERM, lambda number, frame: operator.on_kill())
    _arm(task.kill_at)
    ExecutorSafeguard.tracker.set(operator)
    told: dict[str, Any]
    try:
        if event is None:
            told = {"result": operator.execute(context)}
        else:
            told = {
                "result": operator.resume_execution(
                    "execute_complete", {**next_kwargs, "event": event}, context
                )
            }
    except TaskDeferred as deferred:
        path, arguments = deferred.trigger.serialize()
        told = {"trigger": {"path": path, "arguments": arguments}, "next_kwargs": deferred.kwargs}
    except BaseException as error:
        told = {"error": str(error), "error_kind": type(error).__name__}
    file.write_text(json.dumps(told))


def _arm(kill_at: str) -> None:
    """Have this very process killed before or after a step of the submission, or while it waits."""
    if not kill_at:
        return
    from scale_airflow.rescale.submission_client import ClientPort
    from scale_airflow.rescale.waiting import JobWait

    step, _, side = kill_at.partition(".")
    place: Any = JobWait if step == "follow" else ClientPort
    name = f"_{step}" if step == "follow" else step
    original = getattr(place, name)

    def killed(self: Any, *arguments: Any) -> Any:
        if side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(place, name, killed)


def _trigger(task: Task, file: Path, trigger: dict[str, Any], by_user: bool) -> None:
    """A triggerer with one trigger."""
    from scale_airflow.triggers import settling
    from scale_airflow.triggers.rescale import RescaleJobTrigger

    settling.LONG_SETTLING_PAUSE = 0.0
    _prepare(task)
    _shorten(task)
    assert trigger["path"] == "scale_airflow.triggers.rescale.RescaleJobTrigger"
    made = RescaleJobTrigger(**trigger["arguments"])
    RescaleJobTrigger.log = _Log(task.folder / "log")

    async def first() -> Any:
        if by_user:
            await made.on_kill()
            return None
        async for event in made.run():
            return event.payload
        raise AssertionError("no event")

    file.write_text(json.dumps({"event": asyncio.run(first())}))


def job(command: str, **values: Any) -> dict[str, Any]:
    """Arguments of the operator for a small job."""
    return {
        "name": "Wing",
        "command": command,
        "analysis": "user_included",
        "core_type": "granite",
        "cores_per_slot": 2,
        "walltime": 1,
        "polling_interval": 0.1,
        **values,
    }


@contextmanager
def gated(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A command that goes on only when it is let; give the command and what lets it."""
    gate = folder / "gate"
    yield f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo done > result.txt", gate.touch
    gate.touch()


def paid(emulator: EmulatorProcess) -> dict[str, int]:
    """The jobs that were paid for, with how often."""
    counted: dict[str, int] = emulator.admin.counters()["paid_runs"]
    return {job_id: times for job_id, times in counted.items() if times}
