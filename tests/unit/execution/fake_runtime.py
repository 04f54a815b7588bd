# SPDX-License-Identifier: Apache-2.0
"""A tiny API server: real HTTP on a free port, scripted answers, everything it was told kept for asserts.

It stands in for the runtime endpoints only; what the real ones do is tested with the real ones.
"""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scale_airflow.config import Settings
from scale_airflow.execution.order import (
    ExecutionOrder,
    FileRef,
    OrderInput,
    OrderOutput,
    ReportAnswer,
    WorkspaceRef,
)

SECRET = "the-secret-of-workers"
Answer = tuple[int, Any]


class FakeRuntime:
    """Answers with ``script[path]`` (a value, or a function of the body), else with what lets a job go on."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any, str | None]] = []
        self.script: dict[str, Answer | Callable[[Any], Answer]] = {}
        self.changed = threading.Condition()
        runtime = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer, in two pieces, waits 40 ms

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                path = self.path.removeprefix("/air/scale/api")
                status, document = runtime.take(self.command, path, body, self.headers.get("Authorization"))
                data = document.encode() if isinstance(document, str) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/air"

    def take(self, method: str, path: str, body: Any, authorization: str | None) -> Answer:
        with self.changed:
            self.requests.append((method, path, body, authorization))
            self.changed.notify_all()
        known = path.partition("?")[0]
        for key in (path, known, "/" + known.strip("/").rpartition("/")[2]):
            if key in self.script:
                scripted = self.script[key]
                return scripted(body) if callable(scripted) else scripted
        if known.endswith("/beat/"):
            return 200, {"continue": True, "reason": None}
        if known.endswith("/complete/"):
            return 200, ReportAnswer("done", "well done").to_dict()
        if known.endswith("/fail/"):
            return 200, ReportAnswer("failed", "not retried").to_dict()
        if known.endswith("/file-duties/"):
            return 200, {"duties": [], "interval": 0.05}
        if known.endswith("/log/"):
            return 200, {}
        return 404, {"detail": f"There is no {path}.", "errors": []}

    def bodies(self, ending: str) -> list[Any]:
        """What was sent to paths with this ending."""
        return [body for _, path, body, _ in self.requests if path.partition("?")[0].endswith(ending)]

    def output(self, stream: str) -> bytes:
        """A stream as the server would keep it: each sequence number once, in order."""
        chunks: dict[int, bytes] = {}
        for body in self.bodies("/log/"):
            if body["stream"] == stream:
                chunks.setdefault(body["sequence"], zlib.decompress(base64.b64decode(body["data"])))
        assert sorted(chunks) == list(range(len(chunks)))
        return b"".join(chunks[number] for number in sorted(chunks))

    def wait_for(self, condition: Callable[[], Any], timeout: float = 120.0) -> Any:
        """Wait until something is true of what was told."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "the expected request did not come"
            return condition()


@contextmanager
def fake_runtime() -> Iterator[FakeRuntime]:
    """Run a server for a while."""
    runtime = FakeRuntime()
    thread = threading.Thread(target=runtime.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield runtime
    finally:
        runtime.server.shutdown()
        runtime.server.server_close()
        thread.join()


class RecordingLog:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = defaultdict(list)

    def __getattr__(self, level: str) -> Callable[..., None]:
        if level not in ("debug", "info", "warning", "error", "exception"):
            raise AttributeError(level)
        return lambda message, *values: self.lines[level].append(message % values if values else message)

    @property
    def text(self) -> str:
        return "\n".join(line for lines in self.lines.values() for line in lines)


def make_settings(root: Path, **changes: Any) -> Settings:
    """Settings with everything below one folder."""
    values: dict[str, Any] = {
        "backend": "process",
        "allow_process_jobs": True,
        "work_dir": root / "work",
        "dags_dir": root / "dags",
        "allowed_roots": (root,),
        "mounts": {},
        "max_log_bytes": 1 << 20,
        "disk_limit_factor": 10.0,
        "docker_url": "",
        "docker_network_mode": "none",
        "docker_pull": "never",
        "dispatch_window": 8,
        "max_active_runs_total": 64,
        "node_lost_timeout": 10.0,
        "anonymous_role": "",
        "tick_interval": 0.1,
        "reconcile_interval": 0.1,
        "strike_sweep_interval": 1.0,
        "agent_beat_interval": 0.05,
        "gpus": None,
        "max_node_errors": 50,
        "node_error_period": 1.0,
    }
    known = {key: value for key, value in {**values, **changes}.items() if key in Settings.__slots__}
    (root / "work").mkdir(exist_ok=True)
    return Settings(**known)


def make_order(root: Path, command: str, arguments: str = "", **changes: Any) -> ExecutionOrder:
    """An order with one workspace (id 1) at ``root/data``; inputs and outputs make up the interface."""
    (root / "data").mkdir(exist_ok=True)
    inputs: tuple[OrderInput, ...] = changes.get("inputs", ())
    outputs: tuple[OrderOutput, ...] = changes.get("outputs", ())
    interface = {
        "version": "1.0",
        "command": command,
        "command_arguments": arguments,
        "input_data": [{"name": each.name, "type": each.type, "required": False} for each in inputs],
        "output_data": [
            {"name": each.name, "type": each.type, "required": each.required}
            | ({"media_type": each.media_type} if each.media_type else {})
            for each in outputs
        ],
    }
    values: dict[str, Any] = {
        "execution_id": 7,
        "job_id": 3,
        "token": "the-token-of-seven",
        "job_type_name": "my job",
        "job_type_version": "1.0",
        "backend": "process",
        "image": None,
        "privileged": False,
        "interface": interface,
        "inputs": inputs,
        "outputs": outputs,
        "workspaces": (
            WorkspaceRef(
                1,
                "raw",
                {
                    "version": "1.0",
                    "broker": {"type": "nfs", "mount": "h:/x", "mount_on": str(root / "data")},
                },
            ),
        ),
        "output_path": "jobs/my job/1.0/2026/01/02/job_exe_7",
        "timeout": 600,
        "cpus": 1.0,
        "mem_mib": 512.0,
        "disk_mib": 1.0,
        "configuration": {},
        "node_id": 1,
        "max_log_bytes": 1 << 20,
        "continues": False,
    }
    return ExecutionOrder(**{**values, **changes})


def stored_file(root: Path, path: str, content: bytes = b"content", number: int = 1) -> FileRef:
    """A file in the workspace, and the reference to it."""
    place = root / "data" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return FileRef(number, place.name, "text/plain", len(content), None, 1, path, "SOURCE")
