# SPDX-License-Identifier: Apache-2.0
"""Addresses, keys, profiles, and that a key is shown nowhere."""

from __future__ import annotations

import copy
import pickle
import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from scale_airflow.errors import InstallationError
from scale_airflow.rescale import REGIONS, Credentials, Secret, load_credentials

KEY = "79a49b3132335a44742e86c9126e5cfaa1ea2489"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("us", "https://platform.rescale.com"),
        (" EU ", "https://eu.rescale.com"),
        ("itar.rescale.com", "https://itar.rescale.com"),
        ("https://platform.rescale.jp/", "https://platform.rescale.jp"),
        ("http://127.0.0.1:8000/api/v2/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert Credentials.of(text, KEY).base_url == url


@pytest.mark.parametrize(
    "text",
    [
        "", "ftp://eu.rescale.com", "https://", "https://user:pw@eu.rescale.com", "https://eu.rescale.com/?x=1",
        "https://eu.rescale.com/x", "nowhere at all", "https://eu.rescale.com:99999", "https://eu.rescale.com/#x",
    ],
)  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(InstallationError, match="of the form https://HOST") as caught:
        Credentials.of(text, KEY)
    assert "pw" not in str(caught.value)


def test_no_key_goes_readable_to_rescale() -> None:
    with pytest.raises(InstallationError, match="Use https"):
        Credentials.of("http://eu.rescale.com", KEY)


@pytest.mark.parametrize("text", ["", "  ", "two words", "line\nbreak", "ключ", "nul\0"])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(InstallationError, match="API key") as caught:
        Credentials.of("eu", text)
    assert not text.strip() or text not in str(caught.value)


def test_how_keys_are_sent() -> None:
    assert Credentials.of("eu", f" {KEY}\n").authorization == f"Token {KEY}"
    assert Credentials.of("eu", JWT).authorization == f"Bearer {JWT}"


def test_a_key_is_shown_nowhere() -> None:
    credentials = Credentials.of("eu", KEY)
    secret = credentials.api_key
    for text in (repr(credentials), str(credentials), f"{secret}", repr(secret), credentials.digest):
        assert KEY not in text
    for escape in (pickle.dumps, copy.deepcopy, asdict):
        with pytest.raises(TypeError):
            escape(credentials)  # type: ignore[operator]
    assert secret == Secret(KEY)
    assert hash(secret) == hash(Secret(KEY))
    assert secret != KEY


def test_profiles(tmp_path: Path) -> None:
    file = tmp_path / "apiconfig"
    file.write_text(
        f"\ufeff[default]\r\napibaseurl = https://eu.rescale.com\napikey = {KEY}\n\n"
        "[us]\nAPIBASEURL: https://platform.rescale.com\nAPIKEY=us%key\n"
    )
    assert Credentials.from_profile(file).base_url == "https://eu.rescale.com"
    us = load_credentials("us", file)
    assert (us.base_url, us.api_key.reveal()) == ("https://platform.rescale.com", "us%key")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "can't be read: No such file"),
        ("", r"no profile \[default\].*none"),
        (f"[us]\napikey = {KEY}\n", r"no profile \[default\].*us"),
        (f"[default]\napikey = {KEY}\n", "no apibaseurl"),
        ("[default]\napibaseurl = eu\n", "no apikey"),
        (f"apikey {KEY}\n", "not of the form"),
        (f"[default]\n{KEY}\n", "not of the form"),
        ("[default]\napibaseurl = nowhere at all\napikey = x\n", "of the form https://HOST"),
    ],
)
def test_profiles_that_can_not_be_used(tmp_path: Path, text: str | None, fault: str) -> None:
    file = tmp_path / "apiconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InstallationError, match=fault) as caught:
        Credentials.from_profile(file)
    assert KEY not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_written_profile_has_three_lines_and_one_reader(tmp_path: Path) -> None:
    file = Credentials.of("eu", KEY).write_profile(tmp_path / "new" / "apiconfig")
    assert file.read_text().splitlines() == [
        "[default]",
        "apibaseurl = https://eu.rescale.com",
        f"apikey = {KEY}",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Credentials.of("us", "other").write_profile(file, "us")
    assert file.read_text().splitlines()[:3][2] == f"apikey = {KEY}"
    assert Credentials.from_profile(file, "us").api_key.reveal() == "other"
    Credentials.of("kr", KEY).write_profile(file)
    assert Credentials.from_profile(file).base_url == REGIONS["kr"]
    assert Credentials.from_profile(file, "us").api_key.reveal() == "other"
    assert [each.name for each in file.parent.iterdir()] == ["apiconfig"]
    with pytest.raises(InstallationError, match="no name"):
        Credentials.of("kr", KEY).write_profile(file, "a]\nb")


def test_inside_a_rescale_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RESCALE_API_KEY", raising=False)
    monkeypatch.delenv("RESCALE_API_BASE_URL", raising=False)
    with pytest.raises(InstallationError, match="RESCALE_API_KEY"):
        load_credentials()
    with pytest.raises(InstallationError, match="no RESCALE_API_KEY"):
        Credentials.from_environment()
    Credentials.of("kr", "from-file").write_profile()
    assert load_credentials().api_key.reveal() == "from-file"
    monkeypatch.setenv("RESCALE_API_KEY", "of-the-job")
    assert load_credentials() == Credentials.of("us", "of-the-job")
    monkeypatch.setenv("RESCALE_API_BASE_URL", "https://eu.rescale.com")
    assert load_credentials() == Credentials.of("eu", "of-the-job")
    assert load_credentials("default").api_key.reveal() == "from-file"
