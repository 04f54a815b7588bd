# SPDX-License-Identifier: Apache-2.0
"""Runs the sides, each in a process of its own."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from measuring.isolation import SideError, airflow_environment, run_side

from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints_files import delete_file
from transfers_sides.taking import peak_memory

HERE = Path(__file__).parent


def aria2c() -> str | None:
    """Return where aria2c is, None if it is not there."""
    return shutil.which("aria2c")


class Sides:
    """The sides of the comparison, for one server and key."""

    def __init__(self, url: str, key: str, home: Path):
        self._told = {"url": url, "key": key}
        self._home = home
        self._home.mkdir()
        self._environment = airflow_environment(home)
        self._numbers = itertools.count()

    def download(self, files: Sequence[Any], directory: Path, connections: int) -> dict[str, Any]:
        """Fetch with scale-airflow; with 0 connections as many as it finds right."""
        return self._run(
            "ours.py", what="download", files=files, directory=directory, connections=connections
        )

    def upload(self, path: Path) -> dict[str, Any]:
        """Send over one connection."""
        return self._run("ours.py", what="upload", path=path)

    def volumes(self, path: Path, connections: int) -> dict[str, Any]:
        """Send as volumes."""
        return self._run("ours.py", what="volumes", path=path, connections=connections)

    def by_hand(self, files: Sequence[Any], directory: Path) -> dict[str, Any]:
        """Fetch one file after the other over one connection."""
        return self._run("by_hand.py", files=files, directory=directory)

    def tutorial(self, file: dict[str, Any], directory: Path) -> dict[str, Any]:
        """Fetch as Rescale's tutorial does."""
        return self._run("tutorial.py", files=[file], directory=directory)

    def aria2c(self, file: dict[str, Any], directory: Path, connections: int) -> dict[str, Any]:
        """Fetch with aria2c, which checks the same checksum.

        :raises SideError: if it fails.
        """
        command = [
            str(aria2c()),
            f"--max-connection-per-server={connections}",
            f"--split={connections}",
            "--min-split-size=1M",
            "--file-allocation=falloc",
            f"--checksum=sha-512={file['fileChecksums'][0]['fileHash']}",
            f"--header=Authorization: Token {self._told['key']}",
            f"--dir={directory}",
            f"--out={file['name']}",
            "--quiet",
            f"{self._told['url']}/api/v2/files/{file['id']}/contents/",
        ]
        began = time.perf_counter()
        with psutil.Popen(command) as process:
            memory, processor = 0.0, 0.0
            while process.poll() is None:
                memory = max(memory, peak_memory(process.pid))
                try:
                    times = process.cpu_times()
                    processor = times.user + times.system
                    process.wait(0.05)
                except (psutil.Error, subprocess.TimeoutExpired):
                    continue
        if process.returncode:
            raise SideError(f"aria2c failed with exit code {process.returncode}")
        return {"seconds": time.perf_counter() - began, "processor": processor, "memory": memory}

    def kill_at_half(self, files: Sequence[Any], directory: Path, connections: int) -> None:
        """Begin to fetch with scale-airflow, and kill it without warning when half is there.

        :raises SideError: if it ends before.
        """
        told = {"what": "download", "files": files, "directory": directory, "connections": connections}
        command = [sys.executable, str(HERE / "ours.py"), str(self._written(told))]
        with subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.kill()
        if said != "half\n":
            raise SideError(f"ours.py was to be killed at half of its bytes, but said {said!r}")

    def delete(self, client: RescaleClient, ids: Sequence[str]) -> None:
        """Delete what a side has sent."""
        for file_id in ids:
            client.send(delete_file(file_id))

    def _run(self, script: str, **told: Any) -> dict[str, Any]:
        report: dict[str, Any] = run_side(HERE / script, self._written(told), environment=self._environment)
        return report

    def _written(self, told: dict[str, Any]) -> Path:
        """Return the file that tells a side what to do: for thousands of files it is too long an argument."""
        path = self._home / f"task-{next(self._numbers)}.json"
        path.write_text(json.dumps({**self._told, **told}, default=str))
        return path
