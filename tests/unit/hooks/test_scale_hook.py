# SPDX-License-Identifier: Apache-2.0
"""The hook reads its connection, tests it, and queues work for authors of DAGs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from unit.execution.fake_runtime import FakeRuntime, fake_runtime

from scale_airflow.errors import ScaleApiError
from scale_airflow.hooks.scale import ScaleHook


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, **values: Any) -> ScaleHook:
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_TEST", json.dumps({"conn_type": "scale", **values}))
    return ScaleHook("scale_test")


@pytest.fixture
def hook(runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScaleHook]:
    made = connect(monkeypatch, host=runtime.url, password="the-secret")
    yield made
    made.client.close()


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"host": "https://h/air/"}, "https://h/air"),
        ({"host": "h", "port": 8080}, "http://h:8080"),
        ({"host": "h", "schema": "https"}, "https://h"),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], url: str) -> None:
    hook = connect(monkeypatch, **values)
    assert hook.client.base_url == url
    assert hook.get_conn() is hook.client
    hook.client.close()


def test_a_connection_without_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScaleApiError, match="has no host"):
        connect(monkeypatch).get_conn()


def test_token_and_certificates_in_the_extra_field(
    monkeypatch: pytest.MonkeyPatch, runtime: FakeRuntime
) -> None:
    hook = connect(monkeypatch, host=runtime.url, extra=json.dumps({"token": "t", "verify": False}))
    runtime.script["/jobs/1/"] = (200, {"id": 1})
    assert hook.get_job(1) == {"id": 1}
    assert runtime.requests[0][3] == "Bearer t"
    assert hook.client._session.verify is False
    hook.client.close()


def test_what_the_form_shows() -> None:
    shown = ScaleHook.get_ui_field_behaviour()
    assert set(shown) == {"hidden_fields", "relabeling", "placeholders"}
    assert ScaleHook.conn_type == "scale"
    assert ScaleHook.conn_name_attr == "scale_conn_id"
    assert ScaleHook.default_conn_name == "scale_default"


@pytest.mark.parametrize(
    ("runtime_answer", "status_answer", "expected"),
    [
        ((200, {"files": []}), None, (True, "secret of workers")),
        ((401, {}), (200, {}), (True, "API token of a user")),
        ((403, {}), (401, {}), (False, "neither as secret nor as token")),
        ((500, {"detail": "broken"}), None, (False, "broken")),
        ((200, "<html>"), None, (False, "not JSON")),
    ],
)
def test_the_test_button(
    hook: ScaleHook, runtime: FakeRuntime, runtime_answer: Any, status_answer: Any, expected: Any
) -> None:
    runtime.script["/runtime/dag-files/"] = runtime_answer
    if status_answer:
        runtime.script["/status/"] = status_answer
    works, text = hook.test_connection()
    assert works is expected[0]
    assert expected[1] in text
    assert "the-secret" not in text


def test_the_test_button_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connect(monkeypatch).test_connection()[0] is False
    works, text = ScaleHook("scale_none").test_connection()
    assert not works
    assert "scale_none" in text


def test_queueing_by_id_and_by_name(hook: ScaleHook, runtime: FakeRuntime) -> None:
    types = [
        {"id": 3, "name": "a b", "version": "1"},
        {"id": 4, "name": "a b", "version": "2"},
        {"id": 5, "name": "a", "version": "2"},
    ]
    runtime.script["/job-types/"] = runtime.script["/recipe-types/"] = (200, {"results": types, "next": None})
    runtime.script["/queue/new-job/"] = (201, {"id": 11})
    runtime.script["/queue/new-recipe/"] = (201, {"id": 12})
    assert hook.queue_job(7) == {"id": 11}
    assert hook.queue_job(("a b", "2"), {"version": "1.0"}) == {"id": 11}
    assert hook.queue_recipe(("a", "2")) == {"id": 12}
    assert runtime.bodies("/new-job/") == [
        {"job_type_id": 7, "job_data": {}},
        {"job_type_id": 4, "job_data": {"version": "1.0"}},
    ]
    assert runtime.bodies("/new-recipe/") == [{"recipe_type_id": 5, "recipe_data": {}}]
    with pytest.raises(ScaleApiError, match=r"no job type 'a' in version '9'"):
        hook.queue_job(("a", "9"))
    with pytest.raises(ScaleApiError, match=r"no recipe type"):
        hook.queue_recipe(("a", "9"))


def test_waiting_for_a_job(hook: ScaleHook, runtime: FakeRuntime) -> None:
    states = ["QUEUED", "RUNNING", "COMPLETED"]
    runtime.script["/jobs/5/"] = lambda body: (200, {"status": states.pop(0)})
    assert hook.wait_for_job(5, poll_interval=0.01)["status"] == "COMPLETED"
    runtime.script["/jobs/5/"] = (200, {"status": "RUNNING"})
    with pytest.raises(TimeoutError, match="still RUNNING"):
        hook.wait_for_job(5, timeout=0.05, poll_interval=0.01)


def test_cancel_and_recipe(hook: ScaleHook, runtime: FakeRuntime) -> None:
    runtime.script["/jobs/5/"] = (200, {"status": "CANCELED"})
    runtime.script["/recipes/6/"] = (200, {"id": 6})
    assert hook.cancel_job(5)["status"] == "CANCELED"
    assert runtime.requests[0][:3] == ("PATCH", "/jobs/5/", {"status": "CANCELED"})
    assert hook.get_recipe(6) == {"id": 6}
    runtime.script["/jobs/5/"] = (200, [1])
    with pytest.raises(ScaleApiError, match="not a JSON object"):
        hook.get_job(5)


def test_products_page_by_page(hook: ScaleHook, runtime: FakeRuntime) -> None:
    pages = [{"results": [{"id": 1}, {"id": 2}], "next": "more"}, {"results": [{"id": 3}], "next": None}]
    runtime.script["/products/"] = lambda body: (200, pages.pop(0))
    assert [product["id"] for product in hook.list_products(file_name="x")] == [1, 2, 3]
    assert [path for _, path, _, _ in runtime.requests] == [
        "/products/?file_name=x&page=1&page_size=1000",
        "/products/?file_name=x&page=2&page_size=1000",
    ]


def test_the_provider_names_the_hook() -> None:
    from scale_airflow.provider import provider_info

    (connection,) = [
        each for each in provider_info()["connection-types"] if each["connection-type"] == "scale"
    ]
    assert connection["hook-class-name"] == f"{ScaleHook.__module__}.{ScaleHook.__name__}"
