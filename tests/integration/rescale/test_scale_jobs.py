# SPDX-License-Identifier: Apache-2.0
"""Scale's jobs at Rescale's emulator: real transfers, real processes, and workers that die."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dateutil.parser import isoparse
from process_bench import Bench as ProcessBench
from rescale_bench import Bench, await_true, rescale_settings, worker
from unit.execution.fake_runtime import FakeRuntime, fake_runtime, stored_file

from scale_airflow import crash_points as points
from scale_airflow.execution.order import OrderInput, OrderOutput, ReportAnswer
from scale_airflow.execution.runner import Execution, ExecutionStopped
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.endpoints import stop_job

RESULTS = """
import json, os, sys
here, text, out = sys.argv[1:]
os.mkdir(out + "/sub")
open(out + "/sub/a b.geojson", "w").write("{}")
open(out + "/one.txt", "w").write(open(here).read())
open(out + "/two.txt", "w").write(text)
open("waste", "w").write("x")
json.dump({"version": "1.1", "output_data": [
    {"name": "area", "file": {"path": out + "/sub/a b.geojson", "geo_metadata": {
        "data_started": "2020-01-01T00:00:00Z", "geo_json": {"type": "Point", "coordinates": [1, 2, 3]}}}}],
  "parse_results": [{"filename": "in.txt", "data_types": ["a"]}]}, open(out + "/results_manifest.json", "w"))
print("ARTIFACT:list:one.txt")
print("ARTIFACT:list:" + out + "/two.txt", file=sys.stderr)
"""
FOR_EVER = """
import os, sys, time
print("up", os.getpid(), flush=True)
while True: time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "rescale", pace=0.002) as started:
        yield started


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, runtime: FakeRuntime, emulator: EmulatorProcess) -> Iterator[Bench]:
    made = Bench(tmp_path, runtime, emulator)
    yield made
    made.client.close()
    emulator.admin.clear_faults()


def results_order(bench: Bench, **changes: Any) -> Any:
    source = stored_file(bench.root, "2020/in.txt", b"hello")
    return bench.order(
        RESULTS,
        "${in} ${text} ${job_output_dir}",
        inputs=(
            OrderInput("in", "file", None, (source,)),
            OrderInput("text", "property", "a b; $HOME 'q'\n", ()),
        ),
        outputs=(
            OrderOutput("area", "file", True, None, 1),
            OrderOutput("list", "files", True, "text/x-special", 1),
        ),
        **changes,
    )


def test_its_report_is_that_of_a_job_that_ran_here(bench: Bench, runtime: FakeRuntime) -> None:
    order = results_order(bench)
    assert bench.run(order) == ReportAnswer("done", "well done"), bench.log.text
    far = bench.completion()
    outputs = {stream: runtime.output(stream) for stream in ("stdout", "stderr")}
    stored = bench.root / "data" / order.output_path
    assert (stored / "one.txt").read_text() == "hello"
    assert far["environment"]["rescale"]["job_id"] == bench.jobs()[0]["id"]
    assert far["environment"]["rescale"]["url"].startswith(bench.emulator.base_url)
    times = list(far["times"].values())
    assert None not in times
    assert times == sorted(times)
    assert bench.paid_runs() == 1
    assert not (bench.root / "work" / "job_exe_7").exists()

    runtime.requests.clear()
    here = ProcessBench(bench.root, runtime)
    shutil.rmtree(stored)
    here.run(replace(order, backend="process", configuration={}))
    near = here.completion()
    for same in ("outputs", "parse_results", "manifest", "exit_code", "command_arguments", "warnings"):
        assert far[same] == near[same], same
    # Paths in what was printed are those of the machine.
    assert outputs["stdout"] == runtime.output("stdout")
    assert outputs["stderr"].replace(b"\n", b"").endswith(b"/outputs/output_data/two.txt")
    here.client.close()


def test_output_comes_while_it_runs(bench: Bench, runtime: FakeRuntime, tmp_path: Path) -> None:
    go = tmp_path / "go"
    order = bench.order(
        "import os, sys, time\nprint('early', flush=True); print('oops', file=sys.stderr, flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\nprint('late')"
    )
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout") == b"early\n" and runtime.output("stderr") == b"oops\n")
    go.touch()
    thread.join()
    bench.completion()
    assert bench.out() == "early\nlate\n"


def test_a_failed_command_has_its_exit_code_and_its_output(bench: Bench) -> None:
    bench.run(bench.order("import sys; print('out'); print('why', file=sys.stderr); sys.exit(3)"))
    failure = bench.failure()
    assert (failure["exit_code"], failure["error_name"]) == (3, None)  # the error mapping decides
    assert failure["message"].startswith("The job ended with exit code 3.")
    assert (bench.out(), bench.out("stderr")) == ("out\n", "why\n")
    assert bench.paid_runs() == 1


def test_a_command_that_is_not_there(bench: Bench) -> None:
    order = bench.order("")
    interface = {**order.interface, "command": "no-such-program"}
    bench.run(replace(order, interface=interface))
    assert bench.failure()["exit_code"] == 127
    assert "no-such-program" in bench.out("stderr")


def statuses(bench: Bench) -> list[list[str]]:
    """The history of each of the bench's jobs, oldest job first."""
    return [[entry["status"] for entry in job["statuses"]] for job in bench.jobs()]


def is_over(bench: Bench) -> bool:
    return all("Completed" in history for history in statuses(bench))


def until_stopped(execution: Execution, caught: list[Exception]) -> None:
    try:
        execution.run()
    except ExecutionStopped as error:
        caught.append(error)


def test_a_canceled_job_is_stopped_there(bench: Bench, runtime: FakeRuntime) -> None:
    execution = bench.execution(bench.order(FOR_EVER))
    caught: list[Exception] = []
    thread = threading.Thread(target=until_stopped, args=(execution, caught))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout").startswith(b"up"))
    pid = int(runtime.output("stdout").split()[1])
    runtime.script["/beat"] = (200, {"continue": False, "reason": "canceled"})
    thread.join()
    assert [str(error) for error in caught] == ["canceled"]
    await_true(lambda: is_over(bench) and not Path(f"/proc/{pid}").exists())
    assert runtime.bodies("/fail/") == runtime.bodies("/complete/") == []
    assert not (bench.root / "work" / "job_exe_7").exists()


def test_a_forgotten_worker_leaves_the_job_to_the_next(bench: Bench, runtime: FakeRuntime) -> None:
    go = bench.root / "go"
    order = bench.order(
        f"import os, time\nprint('up', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    )
    caught: list[Exception] = []
    thread = threading.Thread(target=until_stopped, args=(bench.execution(order), caught))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout") == b"up\n")
    runtime.script["/beat"] = (403, {"detail": "another try has it", "errors": []})
    thread.join()
    assert "another try has it" in str(caught[0])
    del runtime.script["/beat"]
    threading.Timer(0.5, go.touch).start()
    assert bench.run(bench.again(order)) == ReportAnswer("done", "well done"), bench.log.text
    assert bench.paid_runs() == 1
    assert "Stopping" not in statuses(bench)[0]
    assert bench.out() == "up\n"


def test_a_timeout_ends_it_there_and_waiting_for_a_machine_does_not_count(bench: Bench) -> None:
    bench.emulator.admin.settings(pace=0.4)  # longer than the timeout
    try:
        bench.run(bench.order(FOR_EVER, timeout=2))
    finally:
        bench.emulator.admin.settings(pace=0.002)
    assert bench.failure()["error_name"] == "timeout"
    await_true(lambda: is_over(bench))
    moments = {entry["status"]: isoparse(entry["date"]) for entry in bench.jobs()[0]["statuses"]}
    waited = moments["Executing"] - min(moments.values())
    assert waited.total_seconds() > 2


def test_what_is_too_dear_is_not_even_saved(bench: Bench) -> None:
    order = bench.order("", remote_block={"hardware": {"coreType": "cheapest"}, "max_cost": 0.0001})
    bench.run(order)
    assert "it may cost 0.0001 at most, but could cost 0." in bench.failure()["message"]
    assert bench.jobs() == []


def test_the_hardware_follows_from_the_job_type(bench: Bench) -> None:
    remote = {"hardware": {"coreType": "cheapest", "category": "hpc", "slots": 2}, "low_priority": True}
    bench.run(bench.order("", remote_block=remote, cpus=2.5, mem_mib=5000.0, timeout=3601))
    bench.completion()
    (job,) = bench.jobs()
    hardware = job["document"]["jobanalyses"][0]["hardware"]
    assert hardware["coreType"] != "cheapest"
    assert hardware["coresPerSlot"] >= 3
    assert (hardware["slots"], hardware["walltime"]) == (2, 2)
    assert job["document"]["isLowPriority"] is True
    assert {"memory", "category"}.isdisjoint(hardware)


def test_what_rescale_does_not_know_is_said(bench: Bench) -> None:
    bench.run(bench.order("", remote_block={"analysis": {"code": "user_includet"}}))
    assert "user_includet" in bench.failure()["message"]
    assert bench.paid_runs() == 0


def test_a_key_that_is_of_no_use_is_said_without_the_key(bench: Bench) -> None:
    key = bench.emulator.expired_key
    connection = rescale_settings(bench.emulator, credentials=Credentials.of(bench.emulator.base_url, key))
    bench.run(bench.order(""), connection=connection)
    message = bench.failure()["message"]
    assert "no longer active" in message
    assert key not in message + bench.log.text


def test_a_place_that_does_not_answer_is_said(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        connection = rescale_settings(bench.emulator, credentials=Credentials.of(address, "key"))
        bench.run(bench.order(""), connection=connection)
    assert f"{address} can't be reached" in bench.failure()["message"]


def test_inputs_that_are_there_are_not_sent_again(bench: Bench, runtime: FakeRuntime) -> None:
    bench.run(results_order(bench))
    bench.completion()
    runtime.requests.clear()
    sent = bench.emulator.admin.counters()["bytes_received"]
    bench.marker = "ffeeddccbbaa0011"
    bench.run(results_order(bench))
    bench.completion()
    assert bench.emulator.admin.counters()["bytes_received"] == sent


@pytest.mark.parametrize(
    ("scenario", "words"),
    [("allocation-failure", "Could not allocate"), ("preempted:4", "Exceeded max number of restarts")],
)
def test_a_machine_that_was_not_to_be_had(bench: Bench, scenario: str, words: str) -> None:
    bench.emulator.admin.next_scenario(scenario)
    bench.run(bench.order(""))
    assert bench.failure()["error_name"] == "mesos-lost"
    assert words in bench.failure()["message"]


def test_one_that_somebody_stops_is_lost(bench: Bench, runtime: FakeRuntime) -> None:
    thread = threading.Thread(target=bench.run, args=(bench.order(FOR_EVER),))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout").startswith(b"up"))
    with RescaleClient(Credentials.of(bench.emulator.base_url, bench.emulator.api_key)) as client:
        client.send(stop_job(bench.jobs()[0]["id"]))
    thread.join()
    failure = bench.failure()
    assert (failure["error_name"], failure["exit_code"]) == ("mesos-lost", None)
    assert "did not come to its end" in failure["message"]


def test_secrets_are_in_no_report_and_no_log(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order(
        "import os; assert os.environ['MY_TOKEN'] == 'hush-hush'; raise SystemExit(4)",
        configuration={"env_vars": {"MY_TOKEN": "hush-hush"}},
    )
    bench.run(order)
    assert bench.failure()["exit_code"] == 4
    told = json.dumps([body for _, _, body, _ in runtime.requests]) + bench.log.text + repr(bench.executions)
    assert "hush-hush" not in told
    assert bench.emulator.api_key not in told


def test_a_server_that_is_away_for_a_while_ends_nothing(bench: Bench, runtime: FakeRuntime) -> None:
    go = bench.root / "go"
    order = bench.order(
        f"import os, time\nprint('up', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    )
    thread = threading.Thread(target=bench.run, args=(order,))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout") == b"up\n")
    bench.emulator.restart()
    go.touch()
    thread.join()
    bench.completion()
    assert bench.paid_runs() == 1


def armed(tmp_path: Path, point: str) -> Path:
    folder = tmp_path / "points"
    for name in (points.ARMED, points.PASSED):
        (folder / name).mkdir(parents=True)
    (folder / points.ARMED / point).touch()
    return folder


@pytest.mark.parametrize(
    ("point", "elsewhere"),
    [
        ("rescale.create.after", False),
        ("rescale.remember.after", True),
        ("rescale.submit.before", False),
        ("rescale.submit.after", False),
        ("rescale.submit.after", True),
        ("rescale.download.after", True),
    ],
)
def test_a_killed_worker_costs_no_second_run(
    bench: Bench, tmp_path: Path, point: str, elsewhere: bool
) -> None:
    """The next try, on the same host or on another, goes on with what is there."""
    order = results_order(bench)
    dead = worker(bench, order, armed(tmp_path, point))
    assert dead.wait(60) == -signal.SIGKILL
    work_dir = tmp_path / ("work of another host" if elsewhere else "work")
    answer = bench.run(bench.again(order), work_dir=work_dir)
    assert answer == ReportAnswer("done", "well done"), bench.log.text
    assert bench.paid_runs() == 1
    assert len(bench.jobs()) == 1
    names = [file["file_name"] for each in bench.completion()["outputs"] for file in each["files"]]
    assert names == ["a b.geojson", "one.txt", "two.txt"]
    assert bench.out() == "ARTIFACT:list:one.txt\n"


def test_a_job_that_failed_while_nobody_watched_has_failed(bench: Bench, tmp_path: Path) -> None:
    order = bench.order("import sys; print('out'); sys.exit(3)")
    dead = worker(bench, order, armed(tmp_path, "rescale.submit.after"))
    assert dead.wait(60) == -signal.SIGKILL
    await_true(lambda: is_over(bench))
    bench.run(bench.again(order))
    assert bench.failure()["exit_code"] == 3
    assert bench.out() == "out\n"
    assert bench.paid_runs() == 1


def test_a_job_that_was_stopped_while_nobody_watched_runs_anew(bench: Bench, tmp_path: Path) -> None:
    order = results_order(bench)
    path = bench.root / "job.py"
    program = path.read_text()
    path.write_text(FOR_EVER)
    dead = worker(bench, order, armed(tmp_path, "rescale.submit.after"))
    assert dead.wait(60) == -signal.SIGKILL
    (job,) = bench.jobs()
    await_true(lambda: "Executing" in statuses(bench)[0])
    with RescaleClient(Credentials.of(bench.emulator.base_url, bench.emulator.api_key)) as client:
        client.send(stop_job(job["id"]))
    path.write_text(program)
    assert bench.run(bench.again(order)) == ReportAnswer("done", "well done"), bench.log.text
    assert bench.paid_runs() == 2


def test_a_machine_that_is_taken_away_is_replaced(bench: Bench) -> None:
    bench.emulator.admin.next_scenario("preempted:1")
    assert bench.run(results_order(bench)) == ReportAnswer("done", "well done"), bench.log.text
    assert bench.out() == "ARTIFACT:list:one.txt\n"


def test_a_cleared_task_runs_anew(bench: Bench, runtime: FakeRuntime) -> None:
    """A user clears the task while it runs: the job is stopped, and the next try pays for another."""
    order = results_order(bench)
    path = bench.root / "job.py"
    program = path.read_text()
    path.write_text(FOR_EVER)
    execution = bench.execution(order)
    caught: list[Exception] = []
    thread = threading.Thread(target=until_stopped, args=(execution, caught))
    thread.start()
    runtime.wait_for(lambda: runtime.output("stdout").startswith(b"up"))
    # As if the worker were killed a moment later, before it could clean up.
    execution._clean_up = lambda: None  # type: ignore[method-assign]
    execution.kill("cleared")
    thread.join()
    assert caught
    path.write_text(program)
    runtime.requests.clear()
    assert bench.run(bench.again(order)) == ReportAnswer("done", "well done"), bench.log.text
    assert bench.paid_runs() == 2
    assert [("Stopping" in history) for history in statuses(bench)] == [True, False]
