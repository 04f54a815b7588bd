# SPDX-License-Identifier: Apache-2.0
"""Whole executions with the process backend: real processes, a real (if small) HTTP server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from process_bench import Bench, await_true, running_below
from unit.execution.fake_runtime import (
    FakeRuntime,
    fake_runtime,
    make_order,
    stored_file,
)

from scale_airflow.execution import disk
from scale_airflow.execution.order import OrderInput, OrderOutput, ReportAnswer
from scale_airflow.execution.processes import process_executions
from scale_airflow.execution.runner import ExecutionStopped

WRITE_RESULTS = """
import json, os, sys
out = sys.argv[-1]
os.mkdir(out + "/sub")
open(out + "/sub/a b.geojson", "w").write("{}")
open(out + "/one.txt", "w").write("one")
open(out + "/two.txt", "w").write("two")
json.dump({"version": "1.1", "output_data": [
    {"name": "area", "file": {"path": out + "/sub/a b.geojson", "geo_metadata": {
        "data_started": "2020-01-01T00:00:00Z", "geo_json": {"type": "Point", "coordinates": [1, 2, 3]}}}},
    {"name": "unknown", "file": {"path": "nothing"}},
], "parse_results": [{"filename": "in.txt", "data_types": ["a"], "geo_metadata":
    {"geo_json": {"type": "Feature", "properties": {"p": 1},
                  "geometry": {"type": "Point", "coordinates": [1, 2]}}}}]
}, open(out + "/results_manifest.json", "w"))
print("ARTIFACT:list:one.txt")
print("ARTIFACT:list:" + out + "/two.txt", file=sys.stderr)
print("ARTIFACT:area:one.txt")
"""


def test_a_job_from_order_to_report(bench: Bench, tmp_path: Path, runtime: FakeRuntime) -> None:
    source = stored_file(tmp_path, "2020/in.txt", b"hello")
    order = bench.order(
        WRITE_RESULTS,
        "${in} ${-x :text} ${job_output_dir}",
        inputs=(
            OrderInput("in", "file", None, (source,)),
            OrderInput("text", "property", "a b; $HOME 'q' \"d\" {{ x }}\n", ()),
        ),
        outputs=(
            OrderOutput("area", "file", True, None, 1),
            OrderOutput("list", "files", True, "text/x-special", 1),
        ),
    )
    assert bench.run(order) == ReportAnswer("done", "well done")
    report = bench.completion()
    stored = tmp_path / "data" / order.output_path
    area, files = report["outputs"]
    assert (area["name"], area["is_list"]) == ("area", False)
    assert area["files"] == [
        {
            "file_name": "a b.geojson",
            "workspace_id": 1,
            "path": f"{order.output_path}/sub/a b.geojson",
            "file_size": 2,
            "checksum": hashlib.sha256(b"{}").hexdigest(),
            "media_type": "application/vnd.geo+json",
            "data_started": "2020-01-01T00:00:00+00:00",
            "data_ended": None,
            "geo_json": {"type": "Point", "coordinates": [1, 2, 3]},
        }
    ]
    assert [file["path"].rpartition("/")[2] for file in files["files"]] == ["one.txt", "two.txt"]
    assert {file["media_type"] for file in files["files"]} == {"text/x-special"}
    assert (stored / "sub" / "a b.geojson").read_text() == "{}"
    assert (stored / "two.txt").read_text() == "two"
    assert report["parse_results"][0]["meta_data"] == {"p": 1}
    assert report["exit_code"] == 0
    assert report["manifest"]["version"] == "1.1"
    times = report["times"]
    assert list(times.values()) == sorted(times.values())
    assert None not in times.values()
    assert "-x a b; $HOME" in report["command_arguments"]
    assert {authorization for *_, authorization in runtime.requests} == {"Bearer the-token-of-seven"}
    assert "the-token" not in repr(order) + repr(bench.client) + bench.log.text


def test_arguments_environment_and_directory_arrive_as_they_are(
    bench: Bench, tmp_path: Path, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SECRET", "not for jobs")
    values = ["a b", "'\"", "$(touch /tmp/x); `id`", "{{ ds }}", "ä\n\tö", "-", "${x}", "\\", "*"]
    order = bench.order(
        "import sys, os, json, resource; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(),"
        "resource.getrlimit(resource.RLIMIT_CORE), sys.stdin.read(), os.getsid(0) == os.getpid(),"
        "os.listdir('/proc/self/fd')]))",
        " ".join(f"${{p{n}}}" for n in range(len(values))) + " ${optional} end",
        inputs=(
            *(OrderInput(f"p{n}", "property", value, ()) for n, value in enumerate(values)),
            OrderInput("optional", "property", None, ()),
        ),
        configuration={"env_vars": {"MY_VAR": "x y", "MY_TOKEN": "hush"}},
    )
    bench.run(order)
    argv, environment, cwd, core, stdin, leads_session, descriptors = json.loads(runtime.output("stdout"))
    assert argv == [*values, "end"]
    work = str(tmp_path / "work" / "job_exe_7" / "outputs" / "output_work")
    assert environment.pop("PATH") == os.environ["PATH"]
    environment.pop("LC_CTYPE", None)
    assert environment == {
        "LANG": "C.UTF-8",
        "HOME": work,
        "TMPDIR": work,
        "MY_VAR": "x y",
        "MY_TOKEN": "hush",
        "SCALE_EXECUTION": str(tmp_path / "work" / "job_exe_7"),
    }
    assert (cwd, core, stdin, leads_session) == (work, [0, 0], "", True)
    assert len(descriptors) == 4  # the fourth is the listing's own
    assert bench.completion()["environment"]["env_vars"] == {"MY_VAR": "x y", "MY_TOKEN": "***"}


def test_inputs_are_where_scale_puts_them(bench: Bench, tmp_path: Path, runtime: FakeRuntime) -> None:
    files = tuple(stored_file(tmp_path, f"{n}/x.txt", f"{n}".encode(), n) for n in (1, 2, 3))
    order = bench.order(
        "import sys, os, json; one, many = sys.argv[1:]\n"
        "print(json.dumps([one, open(one).read(), many,"
        "{name: open(many + '/' + name).read() for name in os.listdir(many)}]))",
        "${one} ${many} ${none}",
        inputs=(
            OrderInput("one", "file", None, files[:1]),
            OrderInput("many", "files", None, files),
            OrderInput("none", "files", None, ()),
        ),
    )
    bench.run(order)
    folder = f"{tmp_path}/work/job_exe_7/inputs/input_data"
    assert json.loads(runtime.output("stdout")) == [
        f"{folder}/one/x.txt",
        "1",
        f"{folder}/many",
        {"x.txt": "1", "1_x.txt": "2", "2_x.txt": "3"},
    ]
    assert (tmp_path / "data" / "1" / "x.txt").read_text() == "1"


def test_a_missing_input_is_named_and_is_the_storage_fault(bench: Bench, tmp_path: Path) -> None:
    file = stored_file(tmp_path, "gone.txt")
    (tmp_path / "data" / "gone.txt").unlink()
    bench.run(bench.order("", "${a}", inputs=(OrderInput("a", "file", None, (file,)),)))
    report = bench.failure()
    assert report["error_name"] == "nfs"
    assert "input 'a', file 1 (gone.txt)" in report["message"]
    assert report["exit_code"] is None
    assert report["times"]["job_started"] is None


def test_the_exit_code_goes_to_the_mapping(bench: Bench) -> None:
    bench.run(bench.order("import sys; sys.exit(42)"))
    report = bench.failure()
    assert (report["error_name"], report["exit_code"]) == (None, 42)


def test_a_signal_is_128_and_its_number(bench: Bench) -> None:
    bench.run(bench.order("import os; os.kill(os.getpid(), 9)"))
    assert bench.failure()["exit_code"] == 137
    assert "memory" not in bench.failure()["message"]


@pytest.mark.parametrize(("command", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_run(
    bench: Bench, tmp_path: Path, runtime: FakeRuntime, command: str, code: int
) -> None:
    bench.run(make_order(tmp_path, command))
    assert bench.failure()["exit_code"] == code
    assert command in runtime.output("stderr").decode()


def test_process_jobs_need_the_installation_s_word(bench: Bench) -> None:
    bench.run(bench.order(""), allow_process_jobs=False)
    assert "allow_process_jobs" in bench.failure()["message"]


def test_too_much_memory_is_told_apart(bench: Bench) -> None:
    program = "import time; x = bytearray(b'x') * (300 << 20); time.sleep(30)"
    bench.run(bench.order(program, mem_mib=128.0))
    report = bench.failure()
    assert report["exit_code"] == 137
    assert "128 MiB of memory" in report["message"]


def test_much_address_space_is_no_memory(bench: Bench) -> None:
    program = "import mmap, time; m = mmap.mmap(-1, 8 << 30); time.sleep(1.2)"
    assert bench.run(bench.order(program, mem_mib=128.0)).decision == "done"


DAEMONIZE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for depth in range(2):
    if os.fork():
        break
    os.setsid()
else:
    if sys.argv[1] == "clean":
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], {})
    time.sleep(600)
print("forked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["marked", "clean"])
def test_a_timeout_kills_all_of_the_job(
    bench: Bench, tmp_path: Path, kind: str, runtime: FakeRuntime
) -> None:
    started = time.monotonic()
    bench.run(bench.order(DAEMONIZE, f"{kind} 600", timeout=1))
    report = bench.failure()
    assert report["error_name"] == "timeout"
    assert "1 seconds" in report["message"]
    assert runtime.output("stdout") == b"forked\n" * 2
    assert time.monotonic() - started < 60
    assert running_below(tmp_path) == []


def test_daemons_die_with_their_job(bench: Bench, tmp_path: Path) -> None:
    assert bench.run(bench.order(DAEMONIZE, "clean 0")).decision == "done"
    assert running_below(tmp_path) == []


def test_cancel_kills_and_reports_nothing(bench: Bench, tmp_path: Path, runtime: FakeRuntime) -> None:
    def beat(body: Any) -> tuple[int, Any]:
        return 200, {"continue": body["times"]["job_started"] is None, "reason": "The job was canceled."}

    runtime.script["/beat"] = beat
    started = time.monotonic()
    with pytest.raises(ExecutionStopped, match="canceled"):
        bench.run(bench.order(DAEMONIZE, "marked 600"))
    assert time.monotonic() - started < 60
    assert running_below(tmp_path) == []
    assert runtime.bodies("/complete/") == runtime.bodies("/fail/") == []


def test_a_token_that_is_no_longer_accepted_fences_the_job_off(
    bench: Bench, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.script["/beat"] = (401, {"detail": "This token is over."})
    with pytest.raises(ExecutionStopped, match="over"):
        bench.run(bench.order("import time; time.sleep(600)"))
    assert running_below(tmp_path) == []
    # It may be another try's by now; where it is nobody's, the node's agent removes it.
    shutil.rmtree(tmp_path / "work" / "job_exe_7")


def test_a_worker_that_was_given_up_does_not_disturb_the_next(
    bench: Bench, runtime: FakeRuntime, tmp_path: Path
) -> None:
    order = bench.order(
        "import os, sys, time\nprint(os.getpid(), flush=True)\n"
        "while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.01)",
        "${job_output_dir}",
    )
    stopped: list[str] = []
    with fake_runtime() as before:
        # Its beats are not answered: it does not know what the others know.
        before.script["/beat"] = (503, {})
        before.script["/fail"] = (403, {"detail": "This token is not that of job execution 7."})
        forgotten = Bench(tmp_path, before)

        def work() -> None:
            try:
                forgotten.run(order)
            except ExecutionStopped as error:
                stopped.append(str(error))

        first = threading.Thread(target=work)
        first.start()
        before.wait_for(lambda: before.output("stdout"))
        second = threading.Thread(target=bench.run, args=(order,))
        second.start()
        first.join()
        forgotten.client.close()
    assert "not that of job execution 7" in stopped[0]
    runtime.wait_for(lambda: runtime.bodies("/log/"))
    (tmp_path / "work" / "job_exe_7" / "outputs" / "output_data" / "go").touch()
    second.join()
    assert bench.completion()["exit_code"] == 0


def test_kill_from_another_thread(bench: Bench, runtime: FakeRuntime) -> None:
    def killer() -> None:
        runtime.wait_for(lambda: runtime.output("stdout"))
        bench.executions[0].kill("the task was killed")

    thread = threading.Thread(target=killer)
    thread.start()
    with pytest.raises(ExecutionStopped, match="the task was killed"):
        bench.run(bench.order("import time; print('up', flush=True); time.sleep(600)"))
    thread.join()


def test_the_job_dies_with_its_worker(tmp_path: Path, runtime: FakeRuntime) -> None:
    worker = os.fork()
    if worker == 0:
        os.setsid()
        try:
            bench = Bench(tmp_path, runtime)
            bench.run(bench.order("import time; print('up', flush=True); time.sleep(600)"))
        finally:
            os._exit(1)
    runtime.wait_for(lambda: runtime.bodies("/log/"))
    assert process_executions(tmp_path / "work").keys() == {7}
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    await_true(lambda: not running_below(tmp_path))
    assert await_true(lambda: process_executions(tmp_path / "work") == {})


def test_the_report_waits_for_the_server(bench: Bench, runtime: FakeRuntime) -> None:
    answers = [(503, {"detail": "away"})] * 5 + [(200, ReportAnswer("done", "").to_dict())]
    runtime.script["/complete"] = lambda body: answers.pop(0)
    runtime.script["/beat"] = (500, {})
    assert bench.run(bench.order("")).decision == "done"
    reports = runtime.bodies("/complete/")
    assert len(reports) == 6
    assert all(report == reports[0] for report in reports)


def test_a_full_work_folder_is_said_before(bench: Bench) -> None:
    bench.run(bench.order("", disk_mib=1e12))
    report = bench.failure()
    assert report["error_name"] == "filesystem-io"
    assert "MiB of disk" in report["message"]


def test_a_directory_outside_the_allowed_roots_is_not_used(bench: Bench, tmp_path: Path) -> None:
    bench.run(bench.order(""), allowed_roots=(tmp_path / "elsewhere",))
    report = bench.failure()
    assert report["error_name"] == "nfs"
    assert "allowed_roots" in report["message"]


def test_what_an_earlier_start_left_is_no_result(bench: Bench, tmp_path: Path) -> None:
    left = tmp_path / "work" / "job_exe_7" / "outputs" / "output_data"
    left.mkdir(parents=True)
    (left / "results_manifest.json").write_text("broken")
    assert bench.run(bench.order("")).decision == "done"


def test_a_file_that_cannot_be_stored_fails_the_job_and_the_rest_is_left_to_be_swept(
    bench: Bench, tmp_path: Path
) -> None:
    order = bench.order(
        "print('ARTIFACT:list:a'); print('ARTIFACT:list:sub/b')\n"
        "import os, sys\nos.mkdir(sys.argv[1] + '/sub')\n"
        "for n in ('a', 'sub/b'): open(sys.argv[1] + '/' + n, 'w').write(n)",
        "${job_output_dir}",
        outputs=(OrderOutput("list", "files", True, None, 1),),
    )
    in_the_way = tmp_path / "data" / order.output_path / "sub"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no directory")
    bench.run(order)
    report = bench.failure()
    assert report["error_name"] == "nfs"
    assert "'sub/b'" in report["message"]
    # Who removed it now might take away what another worker has reported.
    assert sorted(entry.name for entry in in_the_way.parent.iterdir()) == ["a", "sub"]


def test_what_an_earlier_start_has_stored_is_not_replaced(
    bench: Bench, tmp_path: Path, runtime: FakeRuntime
) -> None:
    order = bench.order(
        "print('ARTIFACT:list:a'); print('ARTIFACT:list:b')\n"
        "import sys\nfor n in 'ab': open(sys.argv[1] + '/' + n, 'w').write(n)",
        "${job_output_dir}",
        outputs=(OrderOutput("list", "files", True, None, 1),),
    )
    folder = tmp_path / "data" / order.output_path
    folder.mkdir(parents=True)
    (folder / "a").write_text("a")
    (folder / "b").write_text("another time")
    assert bench.run(order).decision == "done"
    (report,) = runtime.bodies("/complete/")
    first, second = report["outputs"][0]["files"]
    assert (first["path"], first["file_name"]) == (f"{order.output_path}/a", "a")
    digest = hashlib.sha256(b"b").hexdigest()
    assert (second["path"], second["file_name"]) == (f"{order.output_path}/{digest[:8]}/b", "b")
    assert (folder / "b").read_text() == "another time"
    assert (folder / digest[:8] / "b").read_text() == "b"


def test_a_flood_of_output_is_cut_and_the_job_goes_on(bench: Bench, runtime: FakeRuntime) -> None:
    order = bench.order(
        "import sys\nfor n in range(40000): print('x' * 99)\nprint('ARTIFACT:a:out')\n"
        "open(sys.argv[1] + '/out', 'w')",
        "${job_output_dir}",
        outputs=(OrderOutput("a", "file", True, None, 1),),
        max_log_bytes=1 << 20,
    )
    assert bench.run(order).decision == "done"
    output = runtime.output("stdout")
    assert output.startswith((b"x" * 99 + b"\n") * 10_000)
    assert output.endswith(b"[scale] Output above 1048576 bytes is not kept.\n")
    assert len(output) < (1 << 20) + 100


def test_using_more_disk_than_given_is_a_warning(bench: Bench) -> None:
    program = "open('big', 'wb').write(b'x' * (3 << 20))"
    assert bench.run(bench.order(program, disk_mib=1.0)).decision == "done"
    (warning,) = bench.completion()["warnings"]
    assert warning == "The job uses 3 MiB of disk; it was given 1 MiB."


def test_a_job_that_takes_far_too_much_disk_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(disk, "_LEAST_MIB", 4.0)
    program = "import time; open('big', 'wb').write(b'x' * (5 << 20)); time.sleep(600)"
    bench.run(bench.order(program, disk_mib=2.0), disk_limit_factor=1.5)
    report = bench.failure()
    assert report["error_name"] == "filesystem-io"
    assert report["message"].startswith(
        "The job takes 5 MiB of disk: it was given 2 MiB, and at most 4 MiB are allowed then"
    )
    assert running_below(tmp_path) == []


def test_what_a_quick_job_has_taken_counts_when_it_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_LEAST_MIB", 1.0)
    program = "open('big', 'wb').write(b'x' * (5 << 20))"
    bench.run(bench.order(program, disk_mib=2.0), disk_limit_factor=2.0)
    assert "at most 4 MiB are allowed" in bench.failure()["message"]


def test_a_disk_that_runs_full_ends_the_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    from scale_airflow.execution import staging

    real = shutil.disk_usage

    def usage(path: Any) -> Any:
        found = real(path)
        full = (tmp_path / "work" / "job_exe_7" / "outputs" / "output_work" / "full").exists()
        return found._replace(free=0) if full else found

    monkeypatch.setattr(staging.shutil, "disk_usage", usage)
    bench.run(bench.order("import time; open('full', 'w'); time.sleep(600)"))
    report = bench.failure()
    assert report["error_name"] == "filesystem-io"
    assert "0 MiB left" in report["message"]


HUGE = """
import sys, os
with open(sys.argv[1] + "/huge", "wb") as file:
    file.truncate(10 << 30)
print("ARTIFACT:out:huge")
"""


@pytest.mark.parametrize(("factor", "words"), [(10.0, "1024 MiB that the job may take"), (0.0, "has left")])
def test_ten_gigabytes_of_holes_are_no_product(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, words: str
) -> None:
    import shutil

    real = shutil.disk_usage
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: real(path)._replace(free=5 << 30))
    order = bench.order(HUGE, "${job_output_dir}", outputs=(OrderOutput("out", "file", True, None, 1),))
    bench.run(order, disk_limit_factor=factor)
    message = bench.failure()["message"]
    assert "output 'out': the file 'huge' is 10240 MiB long, of which 0 MiB are no holes" in message
    assert words in message
    assert not (tmp_path / "data" / order.output_path).exists()


def test_a_report_that_the_server_never_takes_ends_as_a_failure(bench: Bench, runtime: FakeRuntime) -> None:
    runtime.script["/complete"] = (413, {"detail": "The body of a request may have at most 5 bytes."})
    bench.run(bench.order(""))
    report = bench.failure()
    assert report["error_name"] == "unknown"
    assert "at most 5 bytes" in report["message"]


def test_a_failure_that_is_refused_with_its_manifest_goes_without(bench: Bench, runtime: FakeRuntime) -> None:
    def fail(body: Any) -> tuple[int, Any]:
        if body["manifest"] is not None:
            return 400, {"detail": "This manifest can't be kept."}
        return 200, ReportAnswer("failed", "").to_dict()

    runtime.script["/fail"] = fail
    program = (
        "import sys; open(sys.argv[1] + '/results_manifest.json', 'w').write('{\"version\": \"1.1\", "
        '"output_data": [{"name": "out", "file": {"path": "none"}}]}\')'
    )
    order = bench.order(program, "${job_output_dir}", outputs=(OrderOutput("out", "file", True, None, 1),))
    assert bench.run(order).decision == "failed"
    assert [report["manifest"] is None for report in runtime.bodies("/fail/")] == [False, True]
