# SPDX-License-Identifier: Apache-2.0
"""``make demo``, as a person uses it: beside another, after a stop, after a crash, interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from demo import instances, processes
from demo.installation import Installation
from tests.e2e.system import eventually, free_port

CHECKOUT = Path(__file__).resolve().parents[2]


def demo(*words: str, **variables: str | int) -> subprocess.Popen[str]:
    """Start the command behind make; its environment has make's variables."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PORT", "ONCE", "DOCKER")
    }
    environment |= {name: str(value) for name, value in variables.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *words],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command; give its exit code and all that it said."""
    said, _ = process.communicate(timeout=400)
    return process.returncode, said


def folder(port: int) -> Path:
    return instances.STATE / "instances" / str(port)


def living(port: int) -> list[psutil.Process]:
    """Return every process of a demo, its database too."""
    database = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder(port)) in " ".join(process.info["cmdline"] or [])
    ]
    return [*processes.descendants(folder(port) / "pids", folder(port)), *database]


@pytest.fixture
def port() -> Iterator[int]:
    """A free port; whatever runs on it afterwards is ended."""
    number = free_port()
    yield number
    if folder(number).exists():
        Installation(folder(number), number).remove()


def test_a_demo_stays_up_until_it_is_stopped_and_survives_a_crash(port: int) -> None:
    code, said = outcome(demo("start", PORT=port))
    assert code == 0, said
    url = f"http://localhost:{port}"
    for words in ("hillshade", "COMPLETED", "image/tiff", "make stop", f"{url}/dags/scale_recipe.terrain"):
        assert words in said
    assert len(re.findall(rf"{url}/scale/api/files/\d+/content/", said)) == 7
    login = json.loads(instances.CREDENTIALS.read_text())
    assert set(login) == {"url", "username", "password"}
    assert stat.S_IMODE(instances.CREDENTIALS.stat().st_mode) == 0o600
    if login["url"] == url:  # no other demo was started meanwhile
        assert requests.post(f"{url}/auth/token", json=login, timeout=30).status_code == 201

    code, said = outcome(demo("start", PORT=port))
    assert code == 1
    assert f"runs on port {port} already" in said
    assert "make stop" in said

    # Everything dies at once, as when the machine goes down; another one begins on the same port.
    for process in living(port):
        process.kill()
    eventually(lambda: not living(port), "end of the killed processes", 30)
    code, said = outcome(demo("start", PORT=port, ONCE=1))
    assert code == 0, said
    assert "All 7 products are there, whole, and right." in said
    assert living(port) == []
    assert not folder(port).exists()

    code, said = outcome(demo("stop", PORT=port))
    assert code == 1
    assert f"No demo of this checkout runs on port {port}." in said


def test_ctrl_c_ends_everything(port: int) -> None:
    process = demo("start", PORT=port)
    try:
        eventually(lambda: list((folder(port) / "pids").glob("node.*.json")), "node agent", 90)
    finally:
        process.send_signal(signal.SIGINT)
        code, said = outcome(process)
    assert code == 130, said
    assert living(port) == []
    assert not folder(port).exists()


def test_a_port_that_is_taken_is_refused(port: int) -> None:
    import socket

    with socket.create_server(("127.0.0.1", port)):
        code, said = outcome(demo("start", PORT=port))
    assert code == 1
    assert f"Port {port} is taken by another program." in said


def test_without_an_engine_it_says_how_to_go_on(port: int) -> None:
    code, said = outcome(demo("start", PORT=port, DOCKER=1, DOCKER_HOST="unix:///nowhere/docker.sock"))
    assert code == 1
    assert "No container engine answers at unix:///nowhere/docker.sock" in said
    assert "make demo" in said
    assert not folder(port).exists()


@pytest.mark.parametrize("wrong", ["eighty", "0", "70000"])
def test_a_wrong_port_is_refused(wrong: str) -> None:
    code, said = outcome(demo("start", PORT=wrong))
    assert code == 1
    assert f"PORT={wrong} is no port." in said


def test_a_pid_that_belongs_to_another_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "x.json"
    processes.remember(pid_file, os.getpid())
    assert processes.find(pid_file) == psutil.Process()
    known = json.loads(pid_file.read_text())
    pid_file.write_text(json.dumps({**known, "started": known["started"] - 60}))
    assert processes.find(pid_file) is None
