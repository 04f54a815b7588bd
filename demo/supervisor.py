# SPDX-License-Identifier: Apache-2.0
"""Keep the processes of one instance alive until told to stop: ``python -m demo.supervisor FOLDER``."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from demo import processes

MOST_RESTARTS = 5
"""A process that ends more often than this within ``PERIOD`` seconds stays down."""

PERIOD = 300.0


@dataclass
class Service:
    """One process to keep alive."""

    name: str
    command: list[str]
    # The port of the API server, for a service that must not start before that answers.
    waits_for: int | None = None
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self, folder: Path) -> None:
        """Start it, and write its pid file."""
        self.starts = [moment for moment in self.starts if moment > time.monotonic() - PERIOD]
        self.starts.append(time.monotonic())
        self.process = processes.spawn(self.command, os.environ, folder / "logs" / f"{self.name}.log", folder)
        processes.remember(folder / "pids" / f"{self.name}.{self.process.pid}.json", self.process.pid)

    @property
    def may_start(self) -> bool:
        """Whether it has not ended too often, and what it waits for is there."""
        recent = [moment for moment in self.starts if moment > time.monotonic() - PERIOD]
        return len(recent) <= MOST_RESTARTS and (self.waits_for is None or _answers(self.waits_for))


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def supervise(folder: Path) -> None:
    """Start the services of ``services.json``, restart what ends, until SIGTERM; then end them all."""
    services = [Service(**service) for service in json.loads((folder / "services.json").read_text())]
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    arrived, wake = os.pipe()
    os.set_blocking(arrived, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while not stopping:
        for service in services:
            if service.process is not None and (code := service.process.poll()) is not None:
                print(f"{time.strftime('%H:%M:%S')} {service.name} ended with {code}", flush=True)
                service.process = None
            if service.process is None and service.may_start:
                service.start(folder)
        if select.select([arrived], [], [], 0.5)[0]:
            os.read(arrived, 4096)
    _end(services)


def _end(services: list[Service]) -> None:
    """End the services in the reverse of their order: the API server last, for the reports of the others."""
    for group in (services[1:], services[:1]):
        processes.end(
            [
                psutil.Process(service.process.pid)
                for service in group
                if service.process is not None and service.process.poll() is None
            ],
            patience=6,
        )


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
