# SPDX-License-Identifier: Apache-2.0
"""``airflow scale …`` on a running installation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from demo import pipeline
from demo.errors import DemoError
from tests.e2e.system import Scale


def test_check_finds_nothing(scale: Scale) -> None:
    findings = json.loads(scale.command("check", "-o", "json"))
    assert [each for each in findings if each["level"] != "ok"] == []


def test_init_and_apply_may_be_repeated(scale: Scale) -> None:
    before = scale.client.get("configuration/")
    assert "Everything is there already." in scale.command("init")
    scale.command("apply", str(pipeline.SETUP))
    assert scale.client.get("configuration/") == before


def test_an_export_can_be_imported(scale: Scale, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    scale.command("export", str(file))
    document = json.loads(file.read_text())
    assert {job_type["name"] for job_type in document["job_types"]} >= {"unpack-scene", "kml-footprint"}
    scale.command("validate", "configuration", str(file))
    scale.command("import", str(file))
    assert json.loads(scale.command("export")) == document
    with pytest.raises(DemoError, match="exists; --force replaces it"):
        scale.command("export", str(file))


def test_a_token_lets_a_script_in_until_it_is_revoked(scale: Scale) -> None:
    made = json.loads(
        scale.command("token", "create", "admin", "--name", "test", "--days", "1", "-o", "json")
    )
    headers = {"Authorization": f"Bearer {made[0]['token']}"}
    url = f"{scale.installation.url}/scale/api/errors/"
    assert requests.get(url, headers=headers, timeout=30).status_code == 200
    assert made[0]["token"] not in scale.command("token", "list")
    scale.command("token", "revoke", str(made[0]["id"]))
    assert requests.get(url, headers=headers, timeout=30).status_code == 401


def test_a_token_needs_a_user(scale: Scale) -> None:
    with pytest.raises(DemoError, match="no active user 'nobody'"):
        scale.command("token", "create", "nobody")


def test_a_new_secret_does_not_stop_the_work(scale: Scale) -> None:
    scale.command("rotate-secret")
    ingest = scale.drop("after-rotation.zip", pipeline.scene_bytes() + b"\0\0")
    recipe = scale.finished_recipe(scale.recipe_of(ingest["source_file"]["id"])["id"])
    assert {entry["job"]["status"] for entry in recipe["jobs"]} == {"COMPLETED"}
