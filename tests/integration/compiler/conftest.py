# SPDX-License-Identifier: Apache-2.0
"""A server of generated DAG files, and a host that has none."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scale_airflow.compiler.dag_files import DagFile, job_dag_file

SECRET = "the secret of workers"


@dataclass
class FileServer:
    """What the API server knows, and what it was asked."""

    files: list[DagFile] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    spoiled: bytes | None = None
    status: int = 200
    page: int = 3

    def answer(self, path: str) -> tuple[int, bytes]:
        self.requests.append(path)
        if self.status != 200:
            return self.status, b'{"detail": "no"}'
        parts = urlsplit(path)
        name = parts.path.removeprefix("/scale/api/runtime/dag-files/").rstrip("/")
        if not name:
            after = int(parse_qs(parts.query)["after"][0])
            listed: list[dict[str, Any]] = [
                {
                    "id": number,
                    "file_name": dag_file.file_name,
                    "sha256": dag_file.sha256,
                    "hidden": dag_file.dag_id in self.hidden,
                }
                for number, dag_file in enumerate(self.files, 1)
                if number > after
            ]
            return 200, json.dumps({"files": listed[: self.page]}).encode()
        for dag_file in self.files:
            if dag_file.file_name == name:
                return 200, self.spoiled or dag_file.source.encode()
        return 404, b'{"detail": "There is none."}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """An API server that gives out generated files to who knows the secret."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == f"Bearer {SECRET}"
            status, body = state.answer(self.path) if known else (401, b'{"detail": "Who is it?"}')
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        connection = {
            "conn_type": "scale",
            "host": f"http://127.0.0.1:{http.server_address[1]}",
            "password": SECRET,
        }
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def dags_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of generated files of a host that has none yet."""
    monkeypatch.setenv("AIRFLOW__SCALE__DAGS_DIR", str(tmp_path / "dags"))
    return tmp_path / "dags"


@pytest.fixture(scope="session", autouse=True)
def _fab_is_imported() -> None:
    """Import what Airflow imports when it first stores a DAG under FAB; its warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.providers.fab.www.security_appless  # noqa: F401


def job_files(count: int) -> list[DagFile]:
    """Revisions of as many job types."""
    interface = {"version": "1.0", "command": "make", "command_arguments": ""}
    return [job_dag_file(f"maker-{number}", "1.0", 1, None, interface) for number in range(count)]


@pytest.fixture
def dag_files() -> list[DagFile]:
    """Revisions of ten job types."""
    return job_files(10)
