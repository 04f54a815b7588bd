# SPDX-License-Identifier: Apache-2.0
"""An emulator in a process of its own, for tests and benchmarks, and a client of its admin plane."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_READY = re.compile(r"Ready: (http://\S+) admin (http://\S+)")
STOP_SECONDS = 20.0


class AdminRefusedError(Exception):
    """The admin plane refused a request; its text says why."""


class AdminClient:
    """Speaks with the admin plane.

    :param address: ``http://127.0.0.1:PORT``; :param api_key: a good key of the emulator.
    """

    def __init__(self, address: str, api_key: str) -> None:
        self.address = address
        self._api_key = api_key

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return the document of its answer.

        :raises AdminRefusedError: with the emulator's words.
        :raises OSError: the emulator does not listen.
        """
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=600)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Token {self._api_key}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise AdminRefusedError(document.get("detail", str(document)))
        return document

    def counters(self) -> dict[str, Any]:
        """Return the counts of :class:`.counters.Counters`; for each job ``paid_runs``, ``submissions``."""
        return dict(self.call("GET", "/counters"))

    def reset_counters(self) -> None:
        """Begin to count anew (not what is counted for jobs)."""
        self.call("DELETE", "/counters")

    def requests(self, path: str = "", method: str = "") -> list[dict[str, Any]]:
        """Return the latest requests whose path matches the expression, oldest first."""
        found: list[dict[str, Any]] = self.call("GET", "/requests")
        return [one for one in found if re.search(path, one["path"]) and method in ("", one["method"])]

    def add_fault(self, kind: str, *, method: str = "", path: str = "", **options: Any) -> int:
        """Add a fault rule and return its number; kinds and options: :mod:`.faults`."""
        rule = self.call("POST", "/faults", {"kind": kind, "method": method, "path": path, **options})
        return int(rule["id"])

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules, with ``matched`` and ``fired``."""
        return list(self.call("GET", "/faults"))

    def clear_faults(self) -> None:
        """Forget all rules."""
        self.call("DELETE", "/faults")

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings (see :class:`.settings.Settings`) and return all."""
        return dict(self.call("PATCH", "/settings", changes))

    def advance(self, seconds: float) -> None:
        """Put the emulator's clock forward."""
        self.call("POST", "/advance", {"seconds": seconds})

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs as the emulator remembers them, with their histories."""
        return list(self.call("GET", "/jobs"))

    def job(self, job_id: str) -> dict[str, Any]:
        """Return one job as the emulator remembers it."""
        return dict(self.call("GET", f"/jobs/{job_id}"))

    def set_scenario(self, job_id: str, scenario: str) -> None:
        """Choose the course that a saved job takes when it is submitted (see :data:`.work.SCENARIOS`)."""
        self.call("PATCH", f"/jobs/{job_id}", {"scenario": scenario})

    def next_scenario(self, scenario: str, times: int = 1) -> None:
        """Choose the course of the next jobs that are created."""
        self.call("POST", "/scenarios", {"scenario": scenario, "times": times})

    def add_job(self, document: dict[str, Any], job_id: str | None = None) -> str:
        """Save a job (by the same rules as ``POST /jobs/``), with a given id if wanted; return the id."""
        return str(self.call("POST", "/jobs", {"job": document, "id": job_id})["id"])

    def make_file(self, name: str, size: int, kind: str = "random", **options: Any) -> dict[str, Any]:
        """Make a file in the cloud storage without an upload and return its record.

        :param size: bytes; :param kind: ``random``, or ``text``, which compresses well.
        :param options: ``seed``, ``relative_path``, ``type_id``, ``job_id``, ``run_id``, ``old`` (no
            ``fileChecksums``).
        """
        return dict(self.call("POST", "/files", {"name": name, "size": size, "kind": kind, **options}))


class EmulatorProcess:
    """An emulator in a process of its own; as a context manager it runs inside the block.

    :param root: its directory, kept when the process ends.
    :param pace: what the waits of jobs are multiplied by.
    :param gateway_timeout_every: see :class:`.settings.Settings`.
    :param arguments: further arguments of the command line.
    """

    def __init__(
        self,
        root: Path,
        *,
        api_key: str = "emulator-key",
        authorized_keys: Path | None = None,
        pace: float = 0.01,
        gateway_timeout_every: int | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.api_key = api_key
        self.second_key = f"{api_key}-of-the-second-user"
        self.expired_key = f"{api_key}-expired"
        self.inactive_key = f"{api_key}-inactive"
        self.other_region_key = f"{api_key}-of-another-region"
        self.base_url = ""
        self.admin = AdminClient("", api_key)
        self._process: subprocess.Popen[str] | None = None
        self._arguments = [
            "--end-with-input",
            *("--root", str(root), "--pace", str(pace), "--api-key", api_key, "--api-key", self.second_key),
            *("--expired-key", self.expired_key, "--inactive-key", self.inactive_key),
            *(() if authorized_keys is None else ("--authorized-keys", str(authorized_keys))),
            *_every(gateway_timeout_every),
            *arguments,
        ]

    @property
    def pid(self) -> int:
        """Return the process id; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> EmulatorProcess:
        """Start the process and return when it listens; after the first time on the same ports.

        :raises RuntimeError: it ended at once; has its words.
        """
        log = self.root.parent / f"{self.root.name}.log"
        ports = []
        if self.base_url:
            ports += ["--port", str(urlsplit(self.base_url).port)]
            ports += ["--admin-port", str(urlsplit(self.admin.address).port)]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "scale_airflow.rescale.emulator", *self._arguments, *ports],
                # Open as long as this process lives: an emulator must not outlive tests that were killed.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        ready = _READY.match(self._process.stdout.readline())
        if ready is None:
            self._end()
            raise RuntimeError(f"The emulator did not start: {log.read_text()}")
        self.base_url = ready.group(1)
        self.admin = AdminClient(ready.group(2), self.api_key)
        return self

    def kill(self) -> None:
        """Kill the process with SIGKILL; its jobs run on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        """End the process and its jobs in order."""
        if self._process is None:
            return
        self._process.terminate()
        self._end()

    def restart(self) -> EmulatorProcess:
        """Start again on the same ports and directory; a process that runs is killed first."""
        if self._process is not None:
            self.kill()
        return self.start()

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def __enter__(self) -> EmulatorProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None and self.base_url:
            # Killed within the block: what its jobs left running is ended by a new process in order.
            self.start()
        self.stop()


def _every(number: int | None) -> tuple[str, ...]:
    return () if number is None else ("--gateway-timeout-every", str(number))
