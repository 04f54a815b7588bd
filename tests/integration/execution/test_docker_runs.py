# SPDX-License-Identifier: Apache-2.0
"""Whole executions in containers of a real engine."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
from docker_bench import Bench, await_true, running_with
from docker_engine import Engine, docker_engine
from unit.execution.fake_runtime import FakeRuntime, fake_runtime, make_order, make_settings, stored_file

from scale_airflow.execution.agent import NodeAgent
from scale_airflow.execution.order import ExecutionOrder, NodeAnswer, OrderInput, OrderOutput
from scale_airflow.execution.runner import ExecutionStopped
from scale_airflow.hooks.client import RuntimeClient

pytestmark = pytest.mark.docker


LIMITS = """
cd /sys/fs/cgroup
if [ -d memory ]; then
  echo $(cat cpu/cpu.cfs_quota_us) $(cat cpu/cpu.cfs_period_us)
  cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes
else
  cat cpu.max memory.max memory.swap.max
fi
df -m /dev/shm | tail -1 | awk '{print $2}'
"""


def test_quota_and_memory_are_real(bench: Bench) -> None:
    bench.run(
        bench.order(LIMITS, cpus=0.5, mem_mib=100.0, configuration={"shared_mem_required": 9}), timeout=30
    )
    bench.completion()
    quota, *memory, shared = bench.out().splitlines()
    assert quota == "50000 100000"
    assert memory[0] == str(100 << 20)
    assert memory[1:] in ([str(100 << 20)], ["0"], [])  # memory and swap together, or swap alone
    assert shared == "9"


def test_a_quota_above_the_engine_s_cpus_is_no_fault(bench: Bench) -> None:
    bench.run(bench.order("", cpus=1000.0))
    bench.completion()


def test_out_of_memory_is_told_apart_from_exit_137(bench: Bench, runtime: FakeRuntime) -> None:
    bench.run(bench.order("x=a; while true; do x=$x$x; done", mem_mib=32.0))
    assert bench.failure()["exit_code"] == 137
    assert "32 MiB of memory" in bench.failure()["message"]
    runtime.requests.clear()
    bench.run(bench.order("exit 137"))
    assert bench.failure()["exit_code"] == 137
    assert "memory" not in bench.failure()["message"]


def test_a_timeout_kills_what_ignores_sigterm(bench: Bench) -> None:
    # Long enough for a busy machine to bring the container up.
    bench.run(bench.order("trap '' TERM; echo up; while true; do sleep 1; done", timeout=4))
    assert bench.failure()["error_name"] == "timeout"
    assert bench.out() == "up\n"


def test_arguments_arrive_byte_for_byte(bench: Bench) -> None:
    values = ["a b", "'\"", "$(reboot); `id` && $HOME", "{{ ds }}", "ä\n\tö", "-x", "\\", "*", "run.sh"]
    bench.run(
        bench.order(
            'for each in "$@"; do printf "<%s>" "$each"; done',
            arguments=" ".join(f"${{p{n}}}" for n in range(len(values))),
            inputs=tuple(OrderInput(f"p{n}", "property", value, ()) for n, value in enumerate(values)),
        )
    )
    bench.completion()
    assert bench.out() == "".join(f"<{value}>" for value in values)


def test_streams_are_kept_apart(bench: Bench, runtime: FakeRuntime) -> None:
    bench.run(bench.order("for n in 1 2 3; do echo out$n; echo err$n >&2; done"))
    assert bench.out() == "out1\nout2\nout3\n"
    assert runtime.output("stderr") == b"err1\nerr2\nerr3\n"


def test_output_is_live(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order('echo early; until [ -e "$1/go" ]; do sleep 0.1; done', arguments="${job_output_dir}")
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout") == b"early\n")
    (bench.root / "work" / "job_exe_7" / "outputs" / "output_data" / "go").touch()
    thread.join()
    bench.completion()


def test_an_entrypoint_gets_only_the_arguments(bench: Bench) -> None:
    bench.run(
        bench.order(
            "",
            image="scale-entry:1",
            arguments="a ${b}",
            inputs=(OrderInput("b", "property", "b c", ()),),
        )
    )
    place = bench.root / "work" / "job_exe_7" / "inputs" / "input_data" / "script" / "job.sh"
    assert bench.out() == f"entry: {place} a b c\n"


def test_a_missing_image_and_none_at_all(bench: Bench, runtime: FakeRuntime) -> None:
    bench.run(bench.order("", image="no-such-image:7"))
    assert "no-such-image:7 is not on this host" in bench.failure()["message"]
    assert bench.failure()["error_name"] == "unknown"
    runtime.requests.clear()
    bench.run(bench.order("", image=None))
    assert "no Docker image" in bench.failure()["message"]


def test_a_pull_that_fails(bench: Bench, runtime: FakeRuntime) -> None:
    # No host is there: the engine says so at once.
    bench.run(bench.order("", image="localhost:1/none:1"), docker_pull="missing")
    assert "localhost:1/none:1 can't be used" in bench.failure()["message"]
    runtime.requests.clear()
    client = bench.engine.client()
    client.tag("scale-busybox:1", "localhost:1/there", "1")
    client.close()
    bench.run(bench.order("echo ran", image="localhost:1/there:1"), docker_pull="always")
    assert bench.out() == "ran\n"
    image = bench.completion()["environment"]["image"]
    assert image.partition("@")[0] == "localhost:1/there:1"
    assert image.partition("@")[2].startswith("sha256:")


def test_a_command_that_is_not_there(bench: Bench) -> None:
    bench.run(make_order(bench.root, "/no/such", backend="docker", image="scale-busybox:1"))
    assert bench.failure()["exit_code"] == 127
    assert "/no/such" in bench.failure()["message"]


def test_products_of_a_container(bench: Bench, tmp_path: Path) -> None:
    order = bench.order(
        'mkdir "$1/sub"; echo one > "$1/sub/a b.txt"; ln -s "sub/a b.txt" "$1/link.txt"; umask 077; '
        'echo two > "$1/b"; echo "ARTIFACT:list:sub/a b.txt"; echo "ARTIFACT:list:$1/link.txt"; '
        "echo ARTIFACT:list:b",
        arguments="${job_output_dir}",
        outputs=(OrderOutput("list", "files", True, None, 1),),
    )
    bench.run(order)
    (output,) = bench.completion()["outputs"]
    stored = tmp_path / "data" / order.output_path
    assert [file["path"] for file in output["files"]] == [
        f"{order.output_path}/{name}" for name in ("sub/a b.txt", "link.txt", "b")
    ]
    assert (stored / "sub/a b.txt").read_text() == (stored / "link.txt").read_text() == "one\n"
    assert not (stored / "link.txt").is_symlink()
    assert (stored / "b").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ('ln -s /etc/passwd "$1/a"', "leads out"),
        ('ln -s ../../inputs/input_data/script/job.sh "$1/a"', "leads out"),
        ('mkdir "$1/d"; ln -s /etc "$1/d/e"; ln -s d/e/passwd "$1/a"', "leads out"),
        ('ln -s a "$1/a"', "link"),
        ('mkfifo "$1/a"', "regular file"),
        ('mknod "$1/a" c 1 3', "regular file"),
        ('mkdir "$1/a"', "regular file"),
        ("true", "There is no 'a'"),
    ],
)
def test_what_is_no_file_of_the_output_directory_is_refused(bench: Bench, make: str, words: str) -> None:
    order = bench.order(
        make + '; echo "ARTIFACT:out:a"',
        arguments="${job_output_dir}",
        outputs=(OrderOutput("out", "file", True, None, 1),),
    )
    bench.run(order)
    report = bench.failure()
    assert report["error_name"] == "unknown"
    assert words in report["message"]
    assert not (bench.root / "data" / order.output_path).exists()


def test_inputs_are_read_only(bench: Bench, tmp_path: Path, runtime: FakeRuntime) -> None:
    files = tuple(stored_file(tmp_path, f"{n}/x y.txt", f"{n}".encode(), n) for n in (1, 2))
    bench.run(
        bench.order(
            'cat "$1/x y.txt" "$1/1_x y.txt"; echo bad > "$1/x y.txt"; rm "$1/x y.txt"; '
            'touch "$1/new" "$1/../new"; touch "$(dirname "$1")/../../new"; true',
            arguments="${many}",
            inputs=(OrderInput("many", "files", None, files),),
        )
    )
    bench.completion()
    assert bench.out() == "12"
    assert (
        runtime.output("stderr").count(b"Read-only file system") + runtime.output("stderr").count(b"busy")
        >= 4
    )
    assert [(tmp_path / "data" / f"{n}/x y.txt").read_text() for n in (1, 2)] == ["1", "2"]


def test_labels_parameters_and_no_socket(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order(
        'id -u; pwd; hostname; echo $MY; ulimit -n; ulimit -c; until [ -e "$1/go" ]; do sleep 0.1; done',
        arguments="${job_output_dir}",
        configuration={
            "env_vars": {"MY": "own value"},
            "docker_params": [
                *(["user", "nobody"], ["workdir", "/tmp"], ["hostname", "here"]),
                *(["ulimit", "nofile=77"], ["label", "mine=yes"], ["label", "scale.job=666"]),
            ],
        },
    )
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout").count(b"\n") == 6)
    (container,) = bench.containers()
    client = bench.engine.client()
    facts = client.inspect_container(container["Id"])
    client.close()
    (bench.root / "work" / "job_exe_7" / "outputs" / "output_data" / "go").touch()
    thread.join()
    bench.completion()
    assert bench.out().splitlines() == ["65534", "/tmp", "here", "own value", "77", "0"]
    assert facts["Config"]["Labels"] == {
        "mine": "yes",
        "scale.execution": "7",
        "scale.job": "3",
        "scale.node": "1",
        "scale.job-type": "my job 1.0",
        "scale.agent": bench.agent_id,
        "scale.work-dir": str(bench.root / "work"),
    }
    host = facts["HostConfig"]
    assert (host["Privileged"], host["AutoRemove"], host["NetworkMode"]) == (False, False, "none")
    assert not any(
        "docker" in mount["Source"] for mount in facts["Mounts"] if mount["Source"].endswith("sock")
    )
    assert {mount["Destination"] for mount in facts["Mounts"] if mount["RW"]} == {
        str(bench.root / "work" / "job_exe_7" / "outputs")
    }


def test_gpus_and_privilege_are_asked_for(bench: Bench) -> None:
    from scale_airflow.definitions.job_interface import JobInterface
    from scale_airflow.execution.backends.base import JobRun
    from scale_airflow.execution.backends.container_options import host_options
    from scale_airflow.execution.staging import Scratch, StagedInputs

    order = bench.order("", privileged=True, configuration={"gpus_required": 2})
    scratch = Scratch(bench.root / "work", 7)
    run = JobRun(order, JobInterface.parse(order.interface), scratch, StagedInputs({}), ())
    client = bench.engine.client()
    config = client.create_host_config(**host_options(run, network_mode="none", engine_cpus=2))
    scratch.create()
    made = client.create_container("scale-busybox:1", ["true"], host_config=config)
    host = client.inspect_container(made)["HostConfig"]
    client.remove_container(made)
    client.close()
    scratch.remove()
    assert host["Privileged"] is True
    assert host["DeviceRequests"][0]["Count"] == 2
    assert host["DeviceRequests"][0]["Capabilities"] == [["gpu"]]


def test_cancel_removes_the_container_that_does_not_want_to_end(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order("trap '' TERM; echo up; while true; do sleep 1; done")
    caught: list[BaseException] = []

    def work() -> None:
        try:
            bench.run(order)
        except ExecutionStopped as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout"))
    started = time.monotonic()
    bench.executions[0].kill("canceled")
    await_true(lambda: not bench.containers())
    print(f"The container was gone after {time.monotonic() - started:.1f} s.")
    thread.join()
    assert [str(error) for error in caught] == ["canceled"]
    assert runtime.bodies("/fail/") == runtime.bodies("/complete/") == []


GATE = """
echo one; echo ARTIFACT:out:a; until [ -e "$1/go" ]; do sleep 0.1; done; echo two; echo x > "$1/a"
"""


def start_worker(bench: Bench, order: ExecutionOrder) -> int:
    """Run the order in a process of its own, which can be killed."""
    worker = os.fork()
    if worker == 0:
        try:
            bench.run(order)
        finally:
            os._exit(1)
    return worker


def kill_worker(worker: int) -> None:
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)


@pytest.mark.parametrize("ended", [False, True])
def test_a_container_of_a_dead_worker_is_adopted(bench: Bench, runtime: FakeRuntime, ended: bool) -> None:
    order = bench.order(
        GATE, arguments="${job_output_dir}", outputs=(OrderOutput("out", "file", True, None, 1),)
    )
    worker = start_worker(bench, order)
    runtime.wait_for(lambda: runtime.output("stdout").count(b"\n") == 2)
    (before,) = bench.containers()
    kill_worker(worker)
    go = bench.root / "work" / "job_exe_7" / "outputs" / "output_data" / "go"
    if ended:
        go.touch()
        await_true(lambda: bench.containers()[0]["State"] == "exited")
    else:
        assert bench.containers()[0]["State"] == "running"
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    if not ended:
        await_true(lambda: bench.executions and bench.executions[0]._job is not None)
        assert bench.containers()[0]["Id"] == before["Id"]
        go.touch()
    thread.join()
    report = bench.completion()
    assert runtime.output("stdout") == b"one\nARTIFACT:out:a\ntwo\n"
    (output,) = report["outputs"]
    assert output["files"][0]["file_size"] == 2
    assert len(runtime.bodies("/complete/")) == 1


@pytest.mark.parametrize("how", ["beat", "signal"])
def test_a_worker_that_was_given_up_leaves_what_the_next_has_adopted(
    bench: Bench, runtime: FakeRuntime, engine: Engine, how: str
) -> None:
    order = bench.order(GATE, arguments="${job_output_dir}")
    stopped: list[str] = []
    with fake_runtime() as before:
        forgotten = Bench(bench.root, before, engine)

        def work() -> None:
            try:
                forgotten.run(order)
            except ExecutionStopped as error:
                stopped.append(str(error))

        first = threading.Thread(target=work)
        first.start()
        before.wait_for(lambda: before.output("stdout").count(b"\n") == 2)
        second = threading.Thread(target=bench.run, args=(order,))
        second.start()
        runtime.wait_for(lambda: runtime.output("stdout").count(b"\n") == 2)
        before.script["/beat"] = (403, {"detail": "not yours"})
        if how == "signal":
            forgotten.executions[0].task_killed("Airflow gave the task up.")
        first.join()
    assert len(stopped) == 1
    assert bench.containers()[0]["State"] == "running"
    (bench.root / "work" / "job_exe_7" / "outputs" / "output_data" / "go").touch()
    second.join()
    assert bench.completion()["exit_code"] == 0
    assert runtime.output("stdout") == b"one\nARTIFACT:out:a\ntwo\n"


def test_a_container_that_was_killed_is_not_adopted(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order(
        GATE, arguments="${job_output_dir}", outputs=(OrderOutput("out", "file", True, None, 1),)
    )
    worker = start_worker(bench, order)
    runtime.wait_for(lambda: runtime.output("stdout").count(b"\n") == 2)
    kill_worker(worker)
    (before,) = bench.containers()
    (bench.root / "work" / "job_exe_7" / "killed").touch()
    client = bench.engine.client()
    client.kill(before["Id"])
    client.close()
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    await_true(lambda: bench.executions and bench.executions[0]._job is not None)
    (after,) = bench.containers()
    assert after["Id"] != before["Id"]
    (bench.root / "work" / "job_exe_7" / "outputs" / "output_data" / "go").touch()
    thread.join()
    bench.completion()


def test_a_node_s_agent_ends_what_a_dead_worker_has_left(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order("trap '' TERM; echo up; while true; do sleep 1; done")
    worker = start_worker(bench, order)
    runtime.wait_for(lambda: runtime.output("stdout"))
    kill_worker(worker)
    settings = make_settings(bench.root, backend="docker", docker_url=bench.engine.url)
    agent = NodeAgent(settings, lambda: RuntimeClient(runtime.url, "secret"), bench.agent_id, "here")
    for stop, forget in ((), ()), ((7,), ()), ((), (7,)), ((), ()):
        answer = NodeAnswer(node_id=1, stop=stop, forget=forget, interval=1.0)
        runtime.script["/runtime/nodes/beat/"] = (200, answer.to_dict())
        agent.beat()
    agent._leftovers.close()
    seen = [(body["executions"], body["work_dir_executions"]) for body in runtime.bodies("/nodes/beat/")]
    assert seen == [([7], [7]), ([7], [7]), ([], [7]), ([], [])]
    assert bench.containers() == []


def test_a_container_of_another_installation_is_left_alone(bench: Bench, runtime: FakeRuntime) -> None:
    client = bench.engine.client()
    other = client.create_container(
        "scale-busybox:1",
        ["sleep", "600"],
        labels={"scale.execution": "7", "scale.agent": "another"},
        host_config=client.create_host_config(network_mode="none"),
    )
    client.start(other)
    bench.run(bench.order("echo mine"))
    assert bench.out() == "mine\n"
    assert client.inspect_container(other)["State"]["Running"]
    client.remove_container(other, force=True)
    client.close()


def test_a_container_removed_from_outside_is_lost(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order("echo up; sleep 600")
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout"))
    client = bench.engine.client()
    client.remove_container(bench.containers()[0]["Id"], force=True)
    client.close()
    thread.join(120)
    assert bench.failure()["error_name"] == "mesos-lost"


FLOOD = """
(head -c 20000000 /dev/zero | tr '\\0' x >&2) &
yes $(head -c 249 /dev/zero | tr '\\0' o) | head -c 100000000
wait
"""


def test_much_output_is_complete_and_bounded(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order(FLOOD, max_log_bytes=100 << 20)
    worker = os.fork()
    if worker == 0:
        grown = 1 << 30
        try:
            task_log = logging.getLogger("scale.job")
            task_log.setLevel(logging.INFO)
            task_log.propagate = False  # pytest would keep every line
            task_log.addHandler(logging.FileHandler(bench.root / "task.log"))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            bench.run(order)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        finally:
            (bench.root / "grown").write_text(str(grown))
            os._exit(0)
    os.waitpid(worker, 0)
    bench.executions.append(bench.execution(order))
    bench.completion()
    output, errors = runtime.output("stdout"), runtime.output("stderr")
    assert output == (b"o" * 249 + b"\n") * 400_000
    assert errors == b"x" * 20_000_000
    assert (bench.root / "task.log").stat().st_size > 120_000_000
    assert int((bench.root / "grown").read_text()) < 50 << 10  # KiB


# docker-py leaves a socket open for each attempt that fails.
LEAKY = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@LEAKY
def test_an_engine_that_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import scale_airflow.execution.backends.docker as module

    monkeypatch.setattr(module, "_ENGINE_PATIENCE", 0.1)
    bench.engine = Engine(f"unix://{bench.root}/none.sock", None, None)
    bench.run(bench.order(""))
    gc.collect()
    message = bench.failure()["message"]
    assert "engine of this host can't be reached" in message
    assert "docker_url" in message
    bench.containers = list  # type: ignore[method-assign]


@LEAKY
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_is_restarted_while_a_job_runs(
    tmp_path: Path, runtime: FakeRuntime, number: int
) -> None:
    if os.environ.get("SCALE_TEST_DOCKER_HOST"):
        pytest.skip("the given engine is not ours to restart")
    with docker_engine() as own:
        own.busybox()
        bench = Bench(tmp_path, runtime, own)
        order = bench.order("trap 'exit 3' TERM; echo up; sleep 600 & wait")
        thread = threading.Thread(target=bench.run, args=(order,))
        thread.start()
        runtime.wait_for(lambda: runtime.output("stdout"))
        own.stop(number)
        own.start()
        thread.join(120)
        assert not thread.is_alive()
        report = bench.failure()
        assert bench.containers() == []
    gc.collect()
    assert report["error_name"] == "mesos-lost", report["message"]


@LEAKY
@pytest.mark.parametrize(("number", "meanwhile"), [(signal.SIGKILL, False), (signal.SIGTERM, True)])
def test_a_job_outlives_the_restart_of_an_engine_that_lets_it(
    tmp_path: Path, runtime: FakeRuntime, number: int, meanwhile: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    if os.environ.get("SCALE_TEST_DOCKER_HOST"):
        pytest.skip("the given engine is not ours to restart")
    go = tmp_path / "work" / "job_exe_7" / "outputs" / "output_data" / "go"
    with docker_engine(live_restore=True) as own:
        own.busybox()
        bench = Bench(tmp_path, runtime, own)
        order = bench.order(
            GATE, arguments="${job_output_dir}", outputs=(OrderOutput("out", "file", True, None, 1),)
        )
        thread = threading.Thread(target=bench.run, args=(order,))
        thread.start()
        runtime.wait_for(lambda: runtime.output("stdout").count(b"\n") == 2)
        (before,) = bench.containers()
        own.stop(number)
        if meanwhile:
            go.touch()
            await_true((go.parent / "a").exists)
            await_true(lambda: not running_with(str(go.parent)))
        own.start()
        if not meanwhile:
            await_true(lambda: "The Docker engine is back" in caplog.text)
            (after,) = bench.containers()
            assert (after["Id"], after["State"]) == (before["Id"], "running")
            go.touch()
        thread.join(120)
        assert not thread.is_alive()
        if meanwhile:
            # Nobody has kept what it wrote, so nobody knows what it has produced.
            assert bench.failure()["error_name"] == "mesos-lost"
        else:
            assert bench.completion()["outputs"][0]["files"][0]["file_size"] == 2
            assert runtime.output("stdout") == b"one\nARTIFACT:out:a\ntwo\n"
        assert bench.containers() == []
    gc.collect()
