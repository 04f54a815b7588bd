# SPDX-License-Identifier: Apache-2.0
"""The HTTP clients: what they send, what they try again, what they say about errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from unit.execution.fake_runtime import FakeRuntime, fake_runtime

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.order import (
    BeatReport,
    ClaimRequest,
    LogChunk,
    PhaseTimes,
    ReserveAnswer,
)
from scale_airflow.hooks.async_client import AsyncScaleClient
from scale_airflow.hooks.client import RuntimeClient, ScaleClient, shown_url

REQUEST = ClaimRequest("d", "r", "t", -1, 1, "id", "host", None, None)


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        yield server


@pytest.fixture
def client(runtime: FakeRuntime) -> Iterator[RuntimeClient]:
    made = RuntimeClient(runtime.url + "/", "the-secret")
    yield made
    made.close()


def test_sends_the_token_and_repeated_parameters(client: RuntimeClient, runtime: FakeRuntime) -> None:
    runtime.script["/jobs/"] = (200, {"results": []})
    assert client.get("/jobs/", job_id=[1, 2], status=None) == {"results": []}
    assert runtime.requests == [("GET", "/jobs/?job_id=1&job_id=2", None, "Bearer the-secret")]


def test_an_execution_speaks_with_its_own_token(client: RuntimeClient, runtime: FakeRuntime) -> None:
    execution = client.execution(5, "the-token")
    assert execution.beat(BeatReport(PhaseTimes(), "x")).continue_ is True
    execution.log(LogChunk("stdout", 0, ""))
    assert [(path, authorization) for _, path, _, authorization in runtime.requests] == [
        ("/runtime/executions/5/beat/", "Bearer the-token"),
        ("/runtime/executions/5/log/", "Bearer the-token"),
    ]
    assert "the-" not in repr(execution) + repr(client)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_may_be_repeated_is_tried_again(
    client: RuntimeClient, runtime: FakeRuntime, status: int
) -> None:
    left: list[Any] = [(status, {})] * 2
    left.append((200, {"ready": True, "reason": None}))
    runtime.script["/runtime/reserve/"] = lambda body: left.pop(0)
    assert client.reserve(REQUEST) == ReserveAnswer(True)
    assert len(runtime.requests) == 3


def test_what_may_not_be_repeated_is_not(client: RuntimeClient, runtime: FakeRuntime) -> None:
    runtime.script["/queue/new-job/"] = (503, {"detail": "busy"})
    with pytest.raises(ScaleApiError, match="busy"):
        client.request("POST", "/queue/new-job/", body={})
    assert len(runtime.requests) == 1


def test_other_errors_are_not_tried_again(client: RuntimeClient, runtime: FakeRuntime) -> None:
    runtime.script["/jobs/1/"] = (
        400,
        {"detail": "Invalid job.", "errors": [{"path": "/a", "message": "is wrong"}, "x"]},
    )
    with pytest.raises(ScaleApiError) as caught:
        client.get("/jobs/1/")
    assert str(caught.value) == "GET /jobs/1/ was answered 400: Invalid job.; /a: is wrong"
    assert caught.value.status == 400
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [("/a", "is wrong")]
    assert len(runtime.requests) == 1


@pytest.mark.parametrize("answer", [(500, "<html>"), (404, "[]"), (401, "")])
def test_errors_without_an_explanation(client: RuntimeClient, runtime: FakeRuntime, answer: Any) -> None:
    runtime.script["/jobs/1/"] = answer
    with pytest.raises(ScaleApiError, match=f"answered {answer[0]}: no explanation"):
        client.get("/jobs/1/")


def test_a_page_that_is_no_api(client: RuntimeClient, runtime: FakeRuntime) -> None:
    runtime.script["/jobs/1/"] = (200, "<html>hello")
    with pytest.raises(ScaleApiError, match="not JSON"):
        client.get("/jobs/1/")
    runtime.script["/runtime/claim/"] = (200, {"answer": "perhaps"})
    with pytest.raises(ScaleApiError, match="same version"):
        client.claim(REQUEST)


def test_nobody_there_and_no_secret_in_the_text() -> None:
    client = ScaleClient("http://user:password@127.0.0.1:1/air", "the-secret", attempts=2)
    with pytest.raises(ScaleApiError) as caught:
        client.get("/status/", q="the-parameter")
    client.close()
    assert (
        str(caught.value)
        == "The Scale API server at http://127.0.0.1:1/air can't be reached: ConnectionError."
    )
    assert caught.value.status is None
    assert caught.value.__cause__ is None
    assert "password" not in repr(client)


def test_redirects_do_not_carry_the_secret_elsewhere(client: RuntimeClient, runtime: FakeRuntime) -> None:
    runtime.script["/jobs/1/"] = (302, {})
    with pytest.raises(ScaleApiError, match="302"):
        client.get("/jobs/1/")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:1/x", "http://h:1/x"),
        ("https://u:p@h/x@y", "https://h/x@y"),
        ("h", "h"),
    ],
)
def test_shown_url(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_dag_files(client: RuntimeClient, runtime: FakeRuntime) -> None:
    runtime.script["/runtime/dag-files/"] = (200, {"files": [{"id": 1, "file_name": "a.py", "sha256": "0"}]})
    runtime.script["/runtime/dag-files/a.py"] = (200, "print('ä')\n")
    assert client.dag_files(3)[0]["file_name"] == "a.py"
    assert client.dag_file("a.py") == "print('ä')\n"
    assert runtime.requests[0][1] == "/runtime/dag-files/?after=3"
    with pytest.raises(ScaleApiError, match="404"):
        client.dag_file("none.py")
    for name in ("../x", "a/b", "", "..", "."):
        with pytest.raises(ScaleApiError, match="not the name"):
            client.dag_file(name)
    runtime.script["/runtime/dag-files/"] = (200, [])
    with pytest.raises(ScaleApiError, match="can't be read"):
        client.dag_files()


def test_a_time_out_is_a_server_that_is_away(client: RuntimeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: object, **options: object) -> None:
        raise requests.ReadTimeout("secret inside")

    monkeypatch.setattr(client._session, "request", late)
    with pytest.raises(ScaleApiError, match="ReadTimeout") as caught:
        client.execution(1, "t").log(LogChunk("stdout", 0, ""))
    assert "secret" not in str(caught.value)


def test_the_asynchronous_client(runtime: FakeRuntime) -> None:
    async def talk() -> None:
        async with AsyncScaleClient(runtime.url, "the-secret") as client:
            assert "the-secret" not in repr(client)
            runtime.script["/runtime/reserve/"] = (200, {"ready": False, "reason": "full"})
            assert await client.reserve(REQUEST) == ReserveAnswer(False, "full")
            runtime.script["/runtime/reserve/"] = (409, {"detail": "over"})
            with pytest.raises(ScaleApiError, match="over"):
                await client.reserve(REQUEST)
            runtime.script["/runtime/reserve/"] = (200, {"x": 1})
            with pytest.raises(ScaleApiError, match="understood"):
                await client.reserve(REQUEST)
        async with AsyncScaleClient("http://u:p@127.0.0.1:1", None) as client:
            with pytest.raises(ScaleApiError, match=r"at http://127.0.0.1:1 can't be reached: ConnectError"):
                await client.reserve(REQUEST)

    asyncio.run(talk())
    assert runtime.requests[0][3] == "Bearer the-secret"
