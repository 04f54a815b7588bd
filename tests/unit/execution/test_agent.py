# SPDX-License-Identifier: Apache-2.0
"""The node agent tells what the host has and runs, and does what the answer says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.execution.fake_runtime import FakeRuntime, fake_runtime, make_order, make_settings

from scale_airflow.config import Settings
from scale_airflow.errors import InstallationError
from scale_airflow.execution import host
from scale_airflow.execution.agent import NodeAgent, run_agent
from scale_airflow.execution.backends.process import ProcessBackend
from scale_airflow.execution.order import NodeAnswer, NodeBeat
from scale_airflow.execution.processes import process_executions
from scale_airflow.execution.runner import run_execution
from scale_airflow.execution.staging import Scratch
from scale_airflow.hooks.client import RuntimeClient


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        yield server


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def answers(runtime: FakeRuntime, **changes: Any) -> None:
    values: dict[str, Any] = {"node_id": 1, "stop": (), "forget": (), "interval": 0.05, **changes}
    runtime.script["/nodes/beat/"] = runtime.script["/runtime/nodes/beat/"] = (
        200,
        NodeAnswer(**values).to_dict(),
    )


def agent(runtime: FakeRuntime, configured: Settings) -> NodeAgent:
    return NodeAgent(configured, lambda: RuntimeClient(runtime.url, "secret"), "a" * 32, "here")


def beats(runtime: FakeRuntime) -> list[NodeBeat]:
    return [NodeBeat.from_dict(body) for body in runtime.bodies("/nodes/beat/")]


def test_tells_what_the_host_has(runtime: FakeRuntime, configured: Settings) -> None:
    answers(runtime)
    for name in ("job_exe_5", "job_exe_77", "job_exe_x", "other"):
        (configured.work_dir / name).mkdir()
    assert agent(runtime, configured).beat() == pytest.approx(0.1)
    (beat,) = beats(runtime)
    assert (beat.agent_id, beat.hostname, beat.port) == ("a" * 32, "here", 8793)
    assert 0 < beat.cpus <= len(os.sched_getaffinity(0))
    assert 0 < beat.mem_mib <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert beat.disk_mib > 0
    assert (beat.executions, beat.work_dir_executions) == ((), (5, 77))


def test_forgets_scratch_folders_whatever_is_in_them(runtime: FakeRuntime, configured: Settings) -> None:
    answers(runtime, forget=(5, 6, 7))
    for number in (5, 6):
        Scratch(configured.work_dir, number).create()
    (configured.work_dir / "job_exe_5" / "outputs" / "link").symlink_to(configured.work_dir / "job_exe_8")
    (configured.work_dir / "job_exe_5" / "outputs" / "output_data").chmod(0)
    Scratch(configured.work_dir, 8).create()
    agent(runtime, configured).beat()
    assert sorted(path.name for path in configured.work_dir.iterdir()) == ["job_exe_8"]


def test_kills_what_the_server_says(runtime: FakeRuntime, configured: Settings, tmp_path: Path) -> None:
    order = make_order(tmp_path, "/bin/sleep", "600")
    api = RuntimeClient(runtime.url, "s").execution(7, "t")
    from unit.execution.fake_runtime import RecordingLog

    runner = threading.Thread(
        target=run_execution, args=(order, api, ProcessBackend(configured), configured, RecordingLog())
    )
    runner.start()
    end = time.monotonic() + 10
    while len(process_executions(configured.work_dir).get(7, ())) < 2:  # the keeper and the job
        assert time.monotonic() < end
        time.sleep(0.01)
    answers(runtime, stop=(7, 8))
    agent(runtime, configured).beat()
    assert beats(runtime)[-1].executions == (7,)
    runner.join(10)
    assert process_executions(configured.work_dir) == {}
    (report,) = runtime.bodies("/fail/")
    assert report["exit_code"] == 137


def test_finds_what_a_killed_keeper_left(runtime: FakeRuntime, configured: Settings) -> None:
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={"SCALE_EXECUTION": str(configured.work_dir / "job_exe_9"), "X": "y"},
    )
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={"SCALE_EXECUTION": str(configured.work_dir) + "2/job_exe_9"},
    )
    answers(runtime, stop=(9,))
    agent(runtime, configured).beat()
    assert left.wait(10) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def test_survives_a_server_that_is_away(
    runtime: FakeRuntime, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scale_airflow.execution.agent._AWAY", 0.05)
    left = [(503, {}), (401, {"detail": "no"}), (200, "not json"), (200, {"node_id": 1})]

    def answer(body: Any) -> Any:
        return left.pop(0) if left else (200, NodeAnswer(1, (), (), 0.05).to_dict())

    runtime.script["/runtime/nodes/beat/"] = answer
    stop = threading.Event()
    thread = threading.Thread(target=agent(runtime, configured).run, args=(stop,))
    thread.start()
    runtime.wait_for(lambda: len(beats(runtime)) >= 6)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_ends_on_sigterm_and_keeps_its_id(
    runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(runtime)
    configured = make_settings(tmp_path)
    connection = {"conn_type": "scale", "host": runtime.url, "password": "the-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
    run_agent(configured, once=True)

    def terminate() -> None:
        runtime.wait_for(lambda: len(beats(runtime)) >= 3)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    before = signal.getsignal(signal.SIGTERM)
    run_agent(configured)
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert {beat.agent_id for beat in beats(runtime)} == {host.agent_id(configured.work_dir)}


def test_its_last_beat_says_that_it_ends(runtime: FakeRuntime, configured: Settings) -> None:
    answers(runtime)
    stop = threading.Event()
    thread = threading.Thread(target=agent(runtime, configured).run, args=(stop,))
    thread.start()
    runtime.wait_for(lambda: len(beats(runtime)) >= 2)
    stop.set()
    thread.join(30)
    *before, last = beats(runtime)
    assert last.is_leaving
    assert not any(beat.is_leaving for beat in before)
    assert len({beat.run for beat in beats(runtime)}) == 1


def test_it_ends_though_the_server_can_not_be_told(runtime: FakeRuntime, configured: Settings) -> None:
    runtime.script["/runtime/nodes/beat/"] = (500, {"detail": "broken"})
    stop = threading.Event()
    stop.set()
    agent(runtime, configured).run(stop)


AGENT = """
import sys
from pathlib import Path
from scale_airflow.execution import agent
agent.read_settings = lambda: None
from unit.execution.fake_runtime import make_settings
agent.run_agent(make_settings(Path(sys.argv[1])), hostname="here")
"""


def test_a_killed_agent_comes_back_as_itself_and_a_second_one_is_refused(
    runtime: FakeRuntime, tmp_path: Path, configured: Settings
) -> None:
    answers(runtime)
    connection = {"conn_type": "scale", "host": runtime.url, "password": "the-secret"}
    environment = {
        **os.environ,
        "AIRFLOW_CONN_SCALE_DEFAULT": json.dumps(connection),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", AGENT, str(tmp_path)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    first = start()
    try:
        runtime.wait_for(lambda: len(beats(runtime)) >= 1, 120)
        with pytest.raises(InstallationError, match="Another node agent works with the scratch folder"):
            run_agent(configured)
    finally:
        first.kill()
        first.communicate()
    runs = {beat.run for beat in beats(runtime)}
    again = start()
    try:
        runtime.wait_for(lambda: {beat.run for beat in beats(runtime)} != runs, 120)
    finally:
        again.terminate()
        again.communicate(timeout=60)
    assert len({beat.agent_id for beat in beats(runtime)}) == 1
    assert beats(runtime)[-1].is_leaving


@pytest.mark.parametrize(
    ("files", "cpus", "mem_mib"),
    [
        ({"cpu.max": "150000 100000", "memory.max": str(64 << 20)}, 1.5, 64.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5, None),
        ({"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        ({"memory/memory.limit_in_bytes": str(32 << 20)}, None, 32.0),
    ],
)
def test_a_control_group_limits_the_host(
    tmp_path: Path, files: dict[str, str], cpus: float | None, mem_mib: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    none = tmp_path / "none"
    whole = host.resources(tmp_path, cgroup=none, own_group=none)
    limited = host.resources(tmp_path, cgroup=tmp_path, own_group=none)
    assert limited.cpus == (cpus or whole.cpus)
    assert limited.mem_mib == (mem_mib or whole.mem_mib)


def test_a_control_group_above_our_own_limits_the_host_too(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/system.slice/scale.service\n")
    service = tmp_path / "system.slice" / "scale.service"
    service.mkdir(parents=True)
    (service / "cpu.max").write_text("max 100000\n")
    (service / "memory.max").write_text(f"{64 << 20}\n")
    (service.parent / "cpu.max").write_text("25000 100000\n")
    found = host.resources(tmp_path, cgroup=tmp_path, own_group=tmp_path / "own")
    assert (found.cpus, found.mem_mib) == (0.25, 64.0)


def test_gpus_are_counted_or_configured(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert host.resources(tmp_path, devices=tmp_path).gpus == 2
    assert host.resources(tmp_path, devices=tmp_path, gpus=1).gpus == 1


def test_the_id_is_made_once_and_repaired(tmp_path: Path) -> None:
    assert host.agent_id(tmp_path) is None
    made = host.make_agent_id(tmp_path)
    assert host.make_agent_id(tmp_path) == made == host.agent_id(tmp_path)
    assert host.make_agent_id(tmp_path, "given-by-hand") == "given-by-hand"
    (tmp_path / "agent_id").write_text("!")
    again = host.make_agent_id(tmp_path)
    assert again not in (made, "given-by-hand")
    with pytest.raises(ValueError, match="can't be an agent's id"):
        host.make_agent_id(tmp_path, "a b")
    assert [path.name for path in tmp_path.iterdir()] == ["agent_id"]
