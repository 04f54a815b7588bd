# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` at any moment: what was answered holds, what runs is found again; and the command line."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from scale_airflow.rescale.emulator.process import EmulatorProcess

T = TypeVar("T")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root", gateway_timeout_every=0) as running:
        yield running


def blobs(emulator: EmulatorProcess) -> set[Path]:
    return set((emulator.root / "blobs").iterdir())


def call(emulator: EmulatorProcess, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Token {emulator.api_key}"}
    answer = requests.request(
        method, f"{emulator.base_url}/api/v2{path}", headers=headers, timeout=30, **options
    )
    answer.raise_for_status()
    return answer


def job(command: str) -> dict[str, Any]:
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": command,
        "hardware": {"coreType": "granite", "coresPerSlot": 2},
    }
    return {"name": "a job", "jobanalyses": [analysis]}


def submitted(emulator: EmulatorProcess, command: str) -> str:
    job_id = str(call(emulator, "POST", "/jobs/", json=job(command)).json()["id"])
    call(emulator, "POST", f"/jobs/{job_id}/submit/")
    return job_id


def statuses(emulator: EmulatorProcess, job_id: str) -> list[str]:
    found = call(emulator, "GET", f"/jobs/{job_id}/statuses/").json()["results"]
    return [one["status"] for one in reversed(found)]


def wait_for(look: Callable[[], T], seconds: float = 20.0) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.01)
    return found


def log_of(emulator: EmulatorProcess, job_id: str) -> str:
    (file,) = call(emulator, "GET", f"/jobs/{job_id}/files/?search=process_output").json()["results"]
    return call(emulator, "GET", f"/files/{file['id']}/contents/").text


WHOLE = ["Pending", "Queued", "Started", "Validated", "Executing", "Completed"]


def test_a_running_job_goes_on_and_is_paid_once(emulator: EmulatorProcess, tmp_path: Path) -> None:
    go, log = tmp_path / "go", []
    job_id = submitted(emulator, f"echo first; until [ -e {go} ]; do sleep 0.02; done; echo last")
    wait_for(lambda: "Executing" in statuses(emulator, job_id))
    tail = f"/jobs/{job_id}/runs/1/tail/process_output.log?lines=9"

    def lines() -> bool:
        with contextlib.suppress(requests.HTTPError):
            log[:] = call(emulator, "GET", tail).json()["lines"]
        return any("first" in one for one in log)

    wait_for(lines)
    emulator.restart()
    assert wait_for(lines)
    go.touch()
    wait_for(lambda: "Completed" in statuses(emulator, job_id))
    assert statuses(emulator, job_id) == WHOLE
    assert log_of(emulator, job_id).count("first") == log_of(emulator, job_id).count("last") == 1
    wait_for(lambda: not emulator.admin.job(job_id)["cluster_up"])
    assert emulator.admin.job(job_id)["paid_runs"] == 1


def test_a_job_that_ends_while_nobody_looks_is_found_ended(emulator: EmulatorProcess, tmp_path: Path) -> None:
    begun, go, done = tmp_path / "begun", tmp_path / "go", tmp_path / "done"
    job_id = submitted(
        emulator, f"touch {begun}; until [ -e {go} ]; do sleep 0.02; done; echo last; touch {done}"
    )
    wait_for(begun.exists)
    emulator.kill()
    go.touch()
    wait_for(done.exists)
    emulator.start()
    wait_for(lambda: "Completed" in statuses(emulator, job_id))
    assert "last" in log_of(emulator, job_id)
    newest = call(emulator, "GET", f"/jobs/{job_id}/statuses/").json()["results"][0]
    assert newest["statusReason"] == "Completed successfully"


def test_a_waiting_job_waits_on(emulator: EmulatorProcess) -> None:
    emulator.admin.settings(pace=1000)
    job_id = submitted(emulator, "true")
    emulator.restart()
    wait_for(lambda: "Completed" in statuses(emulator, job_id))
    assert statuses(emulator, job_id) == WHOLE


def test_files_and_drafts_are_there_again(emulator: EmulatorProcess) -> None:
    data = os.urandom(100_000)
    file = call(emulator, "POST", "/files/contents/", files={"file": ("x.bin", data)}).json()
    draft = call(emulator, "POST", "/jobs/", json=job("true")).json()
    gone = call(emulator, "POST", "/files/contents/", files={"file": ("y.bin", b"y")}).json()
    call(emulator, "DELETE", f"/files/{gone['id']}/")
    emulator.restart()
    assert call(emulator, "GET", f"/files/{file['id']}/").json() == file
    assert call(emulator, "GET", f"/files/{file['id']}/contents/").content == data
    assert call(emulator, "GET", f"/jobs/{draft['id']}/").json() == draft
    with pytest.raises(requests.HTTPError, match="404"):
        call(emulator, "GET", f"/files/{gone['id']}/")


def test_an_upload_that_the_kill_cut_leaves_nothing(emulator: EmulatorProcess) -> None:
    before = blobs(emulator)
    emulator.admin.settings(speed_per_connection=2_000_000)

    def upload() -> None:
        with contextlib.suppress(requests.RequestException):
            call(emulator, "POST", "/files/contents/", files={"file": ("cut.bin", bytes(20_000_000))})

    thread = threading.Thread(target=upload)
    thread.start()
    wait_for(lambda: blobs(emulator) != before)
    emulator.kill()
    thread.join()
    emulator.start()
    assert blobs(emulator) == before
    assert call(emulator, "GET", "/files/?search=cut.bin").json()["count"] == 0


def test_a_full_disk_is_told_and_leaves_nothing(emulator: EmulatorProcess) -> None:
    # The jobs of other tests write their last statuses first.
    wait_for(lambda: not any(one["cluster_up"] for one in emulator.admin.jobs()))
    small, before = {"file": ("small", b"x" * 1000)}, blobs(emulator)
    jobs, files = (call(emulator, "GET", path).json()["count"] for path in ("/jobs/", "/files/"))
    resource.prlimit(emulator.pid, resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    with pytest.raises(requests.HTTPError, match="507"):
        call(emulator, "POST", "/files/contents/", files={"file": ("big", bytes(5_000_000))})
    assert blobs(emulator) == before
    call(emulator, "POST", "/files/contents/", files=small)
    resource.prlimit(emulator.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    with pytest.raises(requests.HTTPError, match="507"):
        call(emulator, "POST", "/jobs/", json=job("true"))
    resource.prlimit(emulator.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    call(emulator, "POST", "/jobs/", json=job("true"))
    emulator.restart()
    assert call(emulator, "GET", "/jobs/").json()["count"] == jobs + 1
    assert call(emulator, "GET", "/files/").json()["count"] == files + 1


def test_every_answer_holds(emulator: EmulatorProcess) -> None:
    answered: list[str] = []

    def work() -> None:
        with contextlib.suppress(requests.RequestException):
            while True:
                answered.append(call(emulator, "POST", "/jobs/", json=job("true")).json()["id"])

    before = int(call(emulator, "GET", "/jobs/").json()["count"])
    for number in (5, 20):
        thread = threading.Thread(target=work)
        thread.start()
        wait_for(lambda number=number: len(answered) >= number)  # type: ignore[misc]
        emulator.kill()
        thread.join()
        emulator.start()
        known = {one["id"] for one in call(emulator, "GET", "/jobs/?page_size=999").json()["results"]}
        assert set(answered) <= known
        # At most the one whose answer the kill swallowed.
        assert len(known) <= before + len(answered) + 2


def test_a_full_stop_ends_the_jobs(emulator: EmulatorProcess, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    job_id = submitted(emulator, f"echo $$ > {mark}.new; mv {mark}.new {mark}; sleep 600")
    wait_for(mark.exists)
    emulator.stop()
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    emulator.start()
    wait_for(lambda: "Completed" in statuses(emulator, job_id))


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from scale_airflow.rescale.emulator.process import EmulatorProcess; "
        f"print(EmulatorProcess(Path({str(tmp_path)!r}) / 'root').start().pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        tests.kill()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_one_emulator_a_directory(emulator: EmulatorProcess) -> None:
    second = EmulatorProcess(emulator.root)
    with pytest.raises(
        RuntimeError, match=r"Another emulator works in .* Name another --root, or end that one"
    ):
        second.start()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scale_airflow.rescale.emulator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_named(emulator: EmulatorProcess, tmp_path: Path) -> None:
    port = emulator.base_url.rpartition(":")[2]
    result = run("--root", str(tmp_path / "other"), "--api-key", "k", "--port", port)
    assert result.returncode == 1
    assert "The emulator can't start" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_starts_without_airflow() -> None:
    code = (
        "import sys, scale_airflow.rescale.emulator.__main__; "
        "print([name for name in ('airflow', 'sqlalchemy', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
