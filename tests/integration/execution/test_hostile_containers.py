# SPDX-License-Identifier: Apache-2.0
"""What a container does wrong, on purpose or not, is said clearly at its job and disturbs nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from docker_bench import Bench, await_true, running_with
from unit.execution.fake_runtime import FakeRuntime

from scale_airflow.execution import disk, runner
from scale_airflow.execution.order import OrderOutput

pytestmark = pytest.mark.docker

OUTPUT = (OrderOutput("out", "file", True, None, 1),)


@pytest.fixture
def then_all_is_well(bench: Bench, runtime: FakeRuntime) -> Iterator[None]:
    """After the test, the next job runs as if nothing had been."""
    yield
    runtime.requests.clear()
    order = bench.order(
        'echo fine > "$1/a"; echo ARTIFACT:out:a', arguments="${job_output_dir}", outputs=OUTPUT
    )
    bench.run(order)
    assert (bench.root / "data" / order.output_path / "a").read_text() == "fine\n"
    bench.completion()


@pytest.mark.usefixtures("then_all_is_well")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        # What lies behind the link on the host must not become a product.
        ('rm -r "$1"; ln -s /etc "$1"; echo ARTIFACT:out:hostname', "took its output directory away"),
        ('rm -r "$1"', "took its output directory away"),
        ('rm -r "$1"; mkfifo "$1"', "took its output directory away"),
        ('ln -s ../../worker.json "$1/a"; echo ARTIFACT:out:a', "leads out"),
        ('mknod "$1/a" c 1 7; echo ARTIFACT:out:a', "a character device, not a regular file"),
        ('mknod "$1/a" b 7 0; echo ARTIFACT:out:a', "a block device, not a regular file"),
        ('truncate -s 10G "$1/a"; echo ARTIFACT:out:a', "is 10240 MiB long, of which 0 MiB are no holes"),
        ('touch "$1/$(printf "a\\nb")"; printf "ARTIFACT:out:a\\nb"', "There is no 'a'"),
        ('touch "$1/$(printf "\\377")"; printf "ARTIFACT:out:\\377\\n"', "not valid UTF-8"),
        ('truncate -s 50000000 "$1/results_manifest.json"', "at most 10485760 (10 MiB) are read"),
    ],
)
def test_bad_results(bench: Bench, script: str, words: str) -> None:
    order = bench.order(script, arguments="${job_output_dir}", outputs=OUTPUT)
    bench.run(order)
    report = bench.failure()
    assert report["error_name"] == "unknown"
    assert words in report["message"]
    assert not (bench.root / "data" / order.output_path).exists()


DAEMON = """
setsid sh -c 'trap "" TERM HUP INT; setsid sleep 600 & echo daemon; sleep 600' "$1" &
setsid sleep 600 "$1" &
"""


@pytest.mark.parametrize("ending", ["exit 0", "sleep 600"])
def test_daemons_die_with_their_container(bench: Bench, runtime: FakeRuntime, ending: str) -> None:
    mark = str(bench.root / "work" / "job_exe_7" / "outputs")
    order = bench.order(
        f"{DAEMON}\n{ending}", arguments="${job_output_dir}", timeout=3 if "sleep" in ending else 600
    )
    bench.run(order)
    assert len(runtime.bodies("/complete/")) == (ending == "exit 0")
    assert len(runtime.bodies("/fail/")) == (ending != "exit 0")
    await_true(lambda: not running_with(mark))


@pytest.mark.usefixtures("then_all_is_well")
@pytest.mark.parametrize("place", ["/big", "$1/big"])
def test_a_container_that_fills_the_disk_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(disk, "_LEAST_MIB", 8.0)
    monkeypatch.setattr(disk, "_BESIDE_INTERVAL", 0.1)
    order = bench.order(
        f'dd if=/dev/zero of="{place}" bs=1M count=20 2>/dev/null; sleep 600', arguments="${job_output_dir}"
    )
    bench.run(order)
    report = bench.failure()
    assert report["error_name"] == "filesystem-io"
    assert "it was given 1 MiB, and at most 10 MiB are allowed" in report["message"]


def test_a_gpu_that_the_host_does_not_have(bench: Bench) -> None:
    bench.run(bench.order("", configuration={"gpus_required": 1}))
    report = bench.failure()
    assert report["error_name"] == "unknown"
    assert "The container can't be started: " in report["message"]
    assert "gpu" in report["message"]


def test_only_what_belongs_to_the_job_is_mounted(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order(
        'ls -la /var/run /run; env; until [ -e "$1/go" ]; do sleep 0.1; done', arguments="${job_output_dir}"
    )
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    (found,) = await_true(bench.containers)
    client = bench.engine.client()
    facts = client.inspect_container(found["Id"])
    client.close()
    folder = bench.root / "work" / "job_exe_7"
    await_true((folder / "outputs" / "output_data").exists)
    (folder / "outputs" / "output_data" / "go").touch()
    thread.join()
    bench.completion()
    given = {(mount["Source"], mount["Destination"], mount["RW"]) for mount in facts["Mounts"]}
    script = folder / "inputs" / "input_data" / "script" / "job.sh"
    assert given == {
        (str(folder / "inputs"), str(folder / "inputs"), False),
        (str(bench.root / "data" / "job.sh"), str(script), False),
        (str(folder / "outputs"), str(folder / "outputs"), True),
    }
    host = facts["HostConfig"]
    assert not host["Binds"]
    assert not host["VolumesFrom"]
    assert not host["Devices"]
    assert not host["CapAdd"]
    assert (host["PidMode"], host["IpcMode"], host["UTSMode"]) == ("", "private", "")
    assert (host["MemorySwap"], host["OomKillDisable"]) == (host["Memory"], False)
    assert "docker.sock" not in bench.out()
    assert "DOCKER" not in bench.out()


def test_the_time_after_its_end_is_not_that_of_an_adopted_job(
    bench: Bench, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker died, and the next one came long after the job had ended well."""
    gate = bench.root / "work" / "job_exe_7" / "outputs" / "output_data" / "go"
    script = "echo up; until test -e $1/go; do sleep 0.05; done"
    order = bench.order(script, arguments="${job_output_dir}", timeout=600)
    worker = os.fork()
    if worker == 0:
        try:
            bench.run(order)
        finally:
            os._exit(1)
    runtime.wait_for(lambda: runtime.output("stdout"))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    gate.touch()
    await_true(lambda: bench.containers()[0]["State"] == "exited")
    ten_minutes_on = SimpleNamespace(
        time=lambda: time.time() + 600, monotonic=time.monotonic, sleep=time.sleep
    )
    monkeypatch.setattr(runner, "time", ten_minutes_on)
    bench.run(order)
    assert bench.completion()["exit_code"] == 0


def test_the_time_of_an_adopted_job_counts_from_its_start(
    bench: Bench, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = bench.order("echo up; sleep 600", timeout=600)
    worker = os.fork()
    if worker == 0:
        try:
            bench.run(order)
        finally:
            os._exit(1)
    runtime.wait_for(lambda: runtime.output("stdout"))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    ten_minutes_on = SimpleNamespace(
        time=lambda: time.time() + 600, monotonic=time.monotonic, sleep=time.sleep
    )
    monkeypatch.setattr(runner, "time", ten_minutes_on)
    bench.run(order)
    assert bench.failure()["error_name"] == "timeout"
    assert "600 seconds" in bench.failure()["message"]
    assert bench.failure()["times"]["job_started"] is not None
