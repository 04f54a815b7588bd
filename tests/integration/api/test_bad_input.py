# SPDX-License-Identifier: Apache-2.0
"""Whatever arrives, the answer is a clear error in the API's form, never a 500."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import text
from world import World

from scale_airflow.api_plugin.app import include
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.engine.connections import stored_connection
from scale_airflow.errors import EngineError
from scale_airflow.store.session import transaction

API = "/scale/api"
POST = f"{API}/queue/new-job/"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"\xff\xfe",
        b"nonsense",
        b'{"job_type_id": NaN}',
        b'{"job_type_id": Infinity}',
        b'{"job_type_id": 1, "job_type_id": 2}',
        b'{"job_type_id": 1e400}',
        b'{"job_type_id": 1.0}',
        b'{"job_type_id": ' + b"9" * 30 + b"}",
        b'{"job_type_id": ' + b"9" * 5000 + b"}",
        rb'{"job_type_id": 1, "job_data": {"x": "\ud800"}}',
        rb'{"job_type_id": 1, "\udfff": 1}',
        rb'{"job_type_id": 1, "job_data": {"x": "\u0000"}}',
        b'{"job_type_id": 1, "job_data": ' + b'{"x":' * 100 + b"1" + b"}" * 101,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"null",
        b"[]",
        b'"x"',
        b"1",
    ],
)
def test_bodies(client: httpx.Client, database: str, op: dict[str, str], body: bytes) -> None:
    answer = client.post(POST, content=body, headers=op)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]
    answer.content.decode()


def test_a_long_body(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    body = b'{"job_type_id": 1, "job_data": {"x": "' + b"x" * (50 << 20) + b'"}}'
    assert client.post(POST, content=body, headers=op).status_code == 413

    def pieces() -> Any:  # without a Content-Length
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    assert client.post(POST, content=pieces(), headers=op).status_code == 413


def test_a_compressed_body(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    bomb = gzip.compress(b" " * (1 << 24))
    answer = client.post(POST, content=bomb, headers={**op, "Content-Encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/x/",
        "/jobs/1.0/",
        "/jobs/-1/",
        "/jobs/0/",
        "/jobs/9223372036854775807/",
        "/jobs/9223372036854775808/",
        "/jobs/99999999999999999999999999999999999999/",
        "/jobs/%F0%9F%98%80/",
        "/jobs/NaN/",
        "/jobs/1/2/3/",
        "/jobs//",
        "//jobs/",
        "/nothing/",
        "/recipes/9223372036854775808/",
        "/job-executions/-9223372036854775809/logs/",
        "/ingests/1e3/",
    ],
)
def test_paths(client: httpx.Client, database: str, op: dict[str, str], path: str) -> None:
    answer = client.get(f"{API}{path}", headers=op)
    assert answer.status_code == 404, answer.text
    assert answer.json().keys() == {"detail"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("job_type_name=%00", 400),
        ("%00=1", 400),
        ("job_id=" + "&job_id=".join(["1"] * 5_000), 400),
        ("job_id=" + "&job_id=".join(["1"] * 900), 200),
        ("job_id=9223372036854775807", 200),
        ("job_id=-9223372036854775807", 200),
        ("job_id=9223372036854775808", 400),
        ("job_id=1_000", 400),
        ("job_id=٣", 400),
        ("job_id=", 400),
        ("job_type_name=%ED%A0%80", 200),
        ("job_type_name=" + "x" * 10_000, 200),
        ("order=" + "&order=".join(["id"] * 21), 400),
        ("order=" + "x" * 10_000, 400),
        ("status=queued", 400),
        ("page=1%00", 400),
        ("page=1000000000", 400),
        ("page=-1", 400),
        ("page=NaN", 400),
        ("page_size=1e3", 400),
        ("job_id=NaN", 400),
        ("&".join(["x=1"] * 10_000), 400),
        ("&&&=&=", 200),
        ("page", 200),
    ],
)
def test_queries(client: httpx.Client, database: str, op: dict[str, str], query: str, status: int) -> None:
    answer = client.get(f"{API}/jobs/?{query}", headers=op)
    assert answer.status_code == status, answer.text
    assert answer.json()


RANGE = "started=2015-01-02T00:00:00Z&ended=2015-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("path", "places"),
    [
        (f"/jobs/?{RANGE}", ["started"]),
        (f"/jobs/?{RANGE}&order=x&order=-y", ["started", "order", "order"]),
        (f"/jobs/?{RANGE}&status=queued&job_id=x", ["status", "job_id", "started"]),
        (f"/sources/updates/?{RANGE}&order=x", ["started", "order"]),
        (f"/metrics/job-types/plot-data/?{RANGE}&column=x", ["started", "column"]),
        (f"/metrics/job-types/plot-data/?{RANGE}", ["started"]),
        (f"/load/?{RANGE}&job_type_id=x", ["job_type_id", "started"]),
        (f"/load/?{RANGE}", ["started"]),
    ],
)
def test_every_wrong_parameter_is_told(
    client: httpx.Client, database: str, op: dict[str, str], path: str, places: list[str]
) -> None:
    answer = client.get(f"{API}{path}", headers=op)
    assert answer.status_code == 400, answer.text
    assert sorted(each["path"] for each in answer.json()["errors"]) == sorted(places)


@pytest.mark.parametrize("path", ["/queue/requeue-jobs/", "/jobs/cancel/"])
def test_wrong_parameters_do_not_hide_a_wrong_body(
    client: httpx.Client, database: str, op: dict[str, str], path: str
) -> None:
    answer = client.post(f"{API}{path}?page=0", json={"job_ids": ["x"], "more": 1}, headers=op)
    assert answer.status_code == 400, answer.text
    assert [each["path"] for each in answer.json()["errors"]] == ["page", "/job_ids/0", "/more"]


PATTERNS = [
    ("(a+)+$", 200),  # runs in linear time, whatever name it meets
    ("(a|a)*b" * 30, 200),
    ("((((a{100}){100}){100}){100})", 400),
    ("(?:" * 2000 + "a" + ")" * 2000, 400),
    (r"(a+)\1", 400),
    ("(?=a)*b", 400),
    ("[", 400),
    ("a" * 100_000, 400),
]


def test_patterns_that_explode(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    workspace = {"name": "rs", "json_config": {"version": "1.0", "broker": {"type": "nfs", "mount": "h:/x"}}}
    assert client.post(f"{API}/workspaces/", json=workspace, headers=op).status_code == 201
    for pattern, status in PATTERNS:
        rule = {"filename_regex": pattern, "workspace_path": "my/path", "workspace_name": "rs"}
        watched = {"version": "1.0", "mount": "host:/x", "transfer_suffix": "_tmp", "files_to_ingest": [rule]}
        body = {"name": "inbox", "configuration": watched}
        answer = client.post(f"{API}/strikes/validation/", json=body, headers=op)
        assert answer.status_code == status, (pattern[:100], answer.text)
        if status == 400:
            places = {fault["path"] for fault in answer.json()["errors"]}
            assert places == {"/configuration/files_to_ingest/0/filename_regex"}
            assert len(answer.text) < 10_000


def test_no_encoding_is_unpacked(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    for path in (POST, f"{API}/configuration/upload/", f"{API}/runtime/claim/"):
        for encoding in ("gzip", "deflate", "br", "zstd", "identity, gzip", "x-gzip"):
            headers = {**op, "Content-Encoding": encoding}
            assert client.post(path, content=b"x", headers=headers).status_code == 415


UPLOADS = [
    b"",
    b"[" * 100_000,
    b'{"version": NaN}',
    rb'{"version": "\ud800"}',
    rb'{"version": "\u0000"}',
    gzip.compress(b" " * (1 << 22)),
    b"\xff\xfe\x00",
]


def test_uploads(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    path = f"{API}/configuration/upload/"
    for content in UPLOADS:
        answer = client.post(path, files={"import": ("export.json", content)}, headers=op)
        assert answer.status_code == 400, (content[:100], answer.text)
        answer = client.post(path, content=content, headers={**op, "X-File-Name": "export.json"})
        assert answer.status_code == 400, (content[:100], answer.text)


FORMS = [
    b"",
    b"--x",
    b"--x\r\n",
    b"--x\r\nContent-Disposition: nonsense\r\n\r\n{}\r\n--x--\r\n",
    b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n{}\r\n--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2000 + b"--x--\r\n",
]


def test_broken_forms(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    for form in FORMS:
        for kind in ("multipart/form-data; boundary=x", "multipart/form-data"):
            headers = {**op, "Content-Type": kind}
            answer = client.post(f"{API}/configuration/upload/", content=form, headers=headers)
            assert answer.status_code == 400, (form[:100], kind, answer.text)
            assert answer.json()["detail"]


MESSAGES = [
    b"",
    b"null",
    b"[]",
    b'{"dag_id": NaN}',
    b'{"try_number": ' + b"9" * 30 + b"}",
    rb'{"dag_id": "\ud800"}',
    rb'{"dag_id": "\u0000"}',
    b'{"definition": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"\xff",
]


def test_workers_send_nonsense(client: httpx.Client, world: World) -> None:
    connection = stored_connection(world.session, "scale_default")
    assert connection is not None
    world.session.commit()
    secret = {"Authorization": f"Bearer {connection.secret}"}
    for path in ("claim/", "reserve/", "nodes/beat/"):
        for body in MESSAGES:
            answer = client.post(f"{API}/runtime/{path}", content=body, headers=secret)
            assert answer.status_code == 400, (path, body[:100], answer.text)
            assert answer.json()["detail"]


def test_methods(client: httpx.Client, database: str, op: dict[str, str]) -> None:
    answer = client.delete(f"{API}/jobs/", headers=op)
    assert answer.status_code == 405
    assert answer.json() == {"detail": "DELETE is not allowed here; allowed: GET."}
    assert answer.headers["allow"] == "GET"


@pytest.fixture(scope="module")
def failing(api_server: Any) -> None:
    """Endpoints that fail in ways in which only bugs and broken installations do."""
    router = APIRouter()

    @router.get("/test/bug/")
    def bug() -> None:
        raise RuntimeError("the password is swordfish")

    @router.get("/test/unencodable/")
    def unencodable() -> Any:
        return Reply({"x": float("nan")})

    @router.get("/test/engine/")
    def engine() -> None:
        raise EngineError("Airflow does not want to.")

    @router.get("/test/sql/{kind}/")
    def sql(kind: str) -> None:
        statement = {
            "unique": "INSERT INTO scale_error (name, title, description, category, created, last_modified) "
            "SELECT 'x', '', '', 'DATA', now(), now() FROM generate_series(1, 2)",
            "range": "SELECT 99999999999 :: int",
            "timeout": "SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)",
            "bug": "SELECT nothing FROM nowhere",
        }[kind]
        with transaction() as session:
            session.execute(text(statement))

    app = next(route.app for route in api_server.routes if getattr(route, "path", "") == "/scale")
    before = list(app.router.routes)
    include(app, router)
    yield
    app.router.routes[:] = before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("bug", 500),
        ("unencodable", 500),
        ("engine", 503),
        ("sql/unique", 409),
        ("sql/range", 400),
        ("sql/timeout", 503),
        ("sql/bug", 500),
        ("sql/other", 500),
    ],
)
@pytest.mark.usefixtures("failing")
def test_what_nobody_foresaw(
    client: httpx.Client, database: str, viewer: dict[str, str], path: str, status: int
) -> None:
    answer = client.get(f"{API}/test/{path}", headers=viewer)
    assert answer.status_code == status, answer.text
    assert json.loads(answer.content).keys() == {"detail"}
    for secret in ("swordfish", "Traceback", "SELECT", "psycopg"):
        assert secret not in answer.text
