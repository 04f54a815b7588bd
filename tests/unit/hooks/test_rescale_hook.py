# SPDX-License-Identifier: Apache-2.0
"""The hook reads its connection, tests it, and does what authors of DAGs want done at Rescale."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.log import redact
from unit.rescale.scripted import KEY, Raw, Server, answer, page, scripted

from scale_airflow.errors import InstallationError, RescaleRefused, RescaleUnauthorized
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.hooks.rescale_connection import EXTRAS
from scale_airflow.rescale.calls import Scope


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted() as made:
        yield made


def connect(monkeypatch: pytest.MonkeyPatch, extra: Any = None, **values: Any) -> RescaleHook:
    document = {"conn_type": "rescale", **values}
    if extra is not None:
        document["extra"] = extra if isinstance(extra, str) else json.dumps(extra)
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_TEST", json.dumps(document))
    return RescaleHook("rescale_test", purpose="operator/Xñé")


@pytest.fixture
def hook(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[RescaleHook]:
    made = connect(monkeypatch, host=server.url, password=KEY)
    yield made
    made.close()


def test_the_form(hook: RescaleHook) -> None:
    manager = ProvidersManager()
    assert manager.field_behaviours["rescale"]["relabeling"]["password"] == "API key"
    shown = {name for name in manager.connection_form_widgets if name.startswith("extra__rescale__")}
    assert {"extra__rescale__profile", "extra__rescale__timeout", "extra__rescale__verify"} <= shown
    assert RescaleHook.get_ui_field_behaviour()["relabeling"]["password"] == "API key"


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_the_form_as_airflows_pages_get_it() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = (each for each in HookMetaService.hook_meta_data() if each.connection_type == "rescale")
    document = form.model_dump()
    assert (document["hook_name"], document["standard_fields"]["password"]["title"]) == ("Rescale", "API key")
    assert set(document["extra_fields"]) <= set(EXTRAS)
    # Without a port, the Test button of Airflow 3.3 takes the connection for another one than is stored.
    assert not document["standard_fields"]["port"]["hidden"]
    assert document["extra_fields"]["timeout"]["schema"]["type"] == ["number", "null"]


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"host": "https://eu.rescale.com/"}, "https://eu.rescale.com"),
        ({"host": "https://eu.rescale.com/api/v2/"}, "https://eu.rescale.com"),
        ({"host": "kr"}, "https://kr.rescale.com"),
        ({"host": "EU", "port": 443}, "https://eu.rescale.com"),
        ({"host": "https://platform.rescale.com", "port": 443}, "https://platform.rescale.com"),
        ({"host": "platform.rescale.jp"}, "https://platform.rescale.jp"),
        ({"host": "localhost", "port": 8000, "schema": "http"}, "http://localhost:8000"),
        ({}, "https://platform.rescale.com"),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], url: str) -> None:
    hook = connect(monkeypatch, password=KEY, **values)
    assert hook.client.base_url == url
    assert hook.get_conn() is hook.client
    hook.close()


def test_the_button_names_the_user(hook: RescaleHook, server: Server) -> None:
    server.on("GET users/me/", answer({"email": "a@example.org", "fullName": "Ann A"}))
    assert hook.test_connection() == (
        True,
        f"{server.url} answers, and the key is that of Ann A <a@example.org>.",
    )
    request = server.seen[0]
    assert request.headers["authorization"] == f"Token {KEY}"
    assert "scale-airflow/" in request.headers["user-agent"]
    assert request.headers["user-agent"].endswith("operator/X??")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("Invalid token", "one region"),
        ("API key is no longer active", "expired"),
        ("User inactive or deleted.", "deactivated"),
    ],
)
def test_the_button_says_what_to_do_about_the_key(
    hook: RescaleHook, server: Server, body: str, what: str
) -> None:
    server.on("GET users/me/", answer({"detail": body}, 401))
    works, text = hook.test_connection()
    assert not works
    assert body.rstrip(".") in text
    assert what in text
    assert KEY not in text


def test_the_button_does_not_try_for_long(hook: RescaleHook, server: Server) -> None:
    server.on("GET users/me/", Raw(200, b"<html>Welcome"))
    works, text = hook.test_connection()
    assert not works
    assert "Is this the address of Rescale?" in text
    server.close()
    works, text = hook.test_connection()
    assert not works
    assert "can't be reached" in text
    assert len(server.seen) == 2


def test_the_button_of_a_connection_that_is_not_there() -> None:
    works, text = RescaleHook("rescale_nowhere").test_connection()
    assert not works
    assert "rescale_nowhere" in text


def test_a_connection_without_a_key_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", KEY)
    with pytest.raises(InstallationError, match=r"no API key.*profile.*allow_environment"):
        connect(monkeypatch, host="eu").credentials()


def test_all_faults_of_the_extra_field_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "profil": "x",
        "timeout": "long",
        "max_concurrency": 0,
        "verify": 3,
        "allow_environment": "yes",
        "rates": {"job": 3},
    }
    with pytest.raises(InstallationError) as caught:
        connect(monkeypatch, extra, password=KEY).credentials()
    text = str(caught.value)
    for part in (
        "no profil",
        "timeout must",
        "max_concurrency must",
        "verify must",
        "allow_env",
        "rates has",
    ):
        assert part in text
    assert KEY not in text


@pytest.mark.parametrize("extra", ["{", "[1]"])
def test_an_extra_field_that_is_no_object(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    works, text = connect(monkeypatch, extra, password=KEY).test_connection()
    assert not works
    assert "JSON" in text


def test_what_the_extra_field_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"timeout": 7, "max_concurrency": 3, "verify": "false", "profile": "", "rates": {"user": None}}
    hook = connect(monkeypatch, extra, password=KEY)
    settings = hook.settings
    assert settings.policy.read_timeout == 7
    assert settings.max_concurrency == 3
    assert settings.verify is False
    assert settings.limits == {Scope.USER: None}
    hook.close()


def test_a_connection_that_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"rescale://:{KEY}@eu.rescale.com?timeout=7.5&max_concurrency=3&verify=false"
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_TEST", uri)
    settings = RescaleHook("rescale_test").settings
    assert settings.credentials.base_url == "https://eu.rescale.com"
    assert (settings.policy.read_timeout, settings.max_concurrency, settings.verify) == (7.5, 3, False)


def test_a_key_of_a_file_is_a_secret_for_airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "apiconfig"
    file.write_text("[default]\napibaseurl = eu\napikey = key-of-the-file-only\n")
    assert connect(monkeypatch, {"apiconfig_path": str(file)}).settings
    assert redact("it was key-of-the-file-only") == "it was ***"


def test_hooks_of_one_key_share_rate_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (connect(monkeypatch, password=KEY) for _ in range(2))
    assert one.client.rates is other.client.rates
    differs = connect(monkeypatch, {"rates": {"user": 10}}, password=KEY)
    assert differs.client.rates is not one.client.rates
    for hook in (one, other, differs):
        hook.close()


def test_a_profile_of_the_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    file = tmp_path / "apiconfig"
    file.write_text(f"[default]\napibaseurl = {server.url}\napikey = {KEY}\n")
    hook = connect(monkeypatch, {"apiconfig_path": str(file)})
    assert hook.credentials().base_url == server.url
    with pytest.raises(InstallationError, match=r"\[us\]"):
        connect(monkeypatch, {"apiconfig_path": str(file), "profile": "us"}).credentials()
    with pytest.raises(InstallationError, match="key is for"):
        connect(monkeypatch, {"apiconfig_path": str(file)}, host="us").credentials()


def test_the_key_of_a_rescale_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", KEY)
    monkeypatch.delenv("RESCALE_API_BASE_URL", raising=False)
    assert connect(monkeypatch, {"allow_environment": True}).credentials().base_url.startswith("https://plat")
    named = connect(monkeypatch, {"allow_environment": True}, host="eu").credentials()
    assert named.base_url == "https://eu.rescale.com"
    monkeypatch.setenv("RESCALE_API_BASE_URL", "https://kr.rescale.com")
    with pytest.raises(InstallationError, match="names https://eu"):
        connect(monkeypatch, {"allow_environment": True}, host="eu").credentials()


async def test_the_asynchronous_client(hook: RescaleHook, server: Server) -> None:
    server.on("GET jobs/J/statuses/", page({"status": "Pending", "statusDate": None}))
    async with await hook.async_client() as client:
        from scale_airflow.rescale import endpoints

        assert [row.status for row in await client.all(endpoints.list_statuses("J"))] == ["Pending"]


def test_no_text_shows_the_key(hook: RescaleHook, server: Server) -> None:
    hook.client  # noqa: B018
    for each in (hook.settings, hook.client, hook.credentials(), vars(hook)):
        assert KEY not in repr(each)
    with pytest.raises(TypeError):
        pickle.dumps(hook.credentials())
    server.on("GET jobs/", answer({"detail": f"Invalid token {KEY}"}, 401))
    with pytest.raises(RescaleUnauthorized) as caught:
        hook.list_jobs()
    assert KEY not in str(caught.value) + caught.value.detail


def test_a_refused_job_is_told_which_projects_there_are(hook: RescaleHook, server: Server) -> None:
    server.on("POST jobs/", answer({"projectId": ["This field is required."]}, 400))
    server.on("GET users/me/projects/", page({"id": "p1", "name": "Wings"}))
    with pytest.raises(RescaleRefused) as caught:
        hook.create_job({"name": "x"})
    assert caught.value.faults[0].path == "/projectId"
    assert "p1 (Wings)" in str(caught.value)


def test_what_authors_do(hook: RescaleHook, server: Server) -> None:
    job = {"id": "J", "name": "x", "jobanalyses": []}
    server.on("POST jobs/", answer(job, 201))
    server.on("GET jobs/J/", answer(job))
    server.on("POST jobs/J/submit/", Raw(200))
    server.on("POST jobs/J/stop/", Raw(202))
    server.on("POST jobs/J/force_stop/", answer({"detail": "over"}, 400))
    server.on("GET jobs/J/statuses/", page({"status": "Completed", "statusDate": "2026-01-01T00:00:00Z"}))
    server.on("DELETE jobs/J/", Raw(204))
    server.on("DELETE files/F/", Raw(204))
    server.on("GET jobs/J/files/", page({"id": "F", "name": "n"}))
    server.on("GET jobs/", page({"id": "J", "name": "x"}))
    assert hook.create_job({"name": "x"}).id == "J"
    assert hook.create_job_like("J", {"name": "y"}).id == "J"
    assert server.seen[-1].json["name"] == "y"
    hook.submit_job("J")
    hook.stop_job("J")
    hook.stop_job("J", force=True)
    assert hook.job_statuses("J")[0].status == "Completed"
    assert hook.cluster_statuses("J") == []
    assert hook.job_files("J", "n")[0].id == "F"
    hook.delete_files(["F"])
    hook.delete_job("J", delete_input_files=True)
    assert server.requests()[-1] == "DELETE jobs/J/?deleteInputFiles=True"
    assert hook.list_jobs(state="completed")[0].id == "J"


# Airflow's own model still asks the manager that Airflow's SDK replaces.
@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_airflow_finds_the_hook_and_its_button(hook: RescaleHook, server: Server) -> None:
    """As the endpoint behind the form's button does it."""
    from airflow.models import Connection

    server.on("GET users/me/", answer({"email": "a@example.org"}))
    connection = Connection(conn_id="rescale_test", conn_type="rescale", host=server.url, password=KEY)
    assert connection.test_connection() == (
        True,
        f"{server.url} answers, and the key is that of a@example.org.",
    )
