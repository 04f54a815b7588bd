# SPDX-License-Identifier: Apache-2.0
"""Trigger rules as they are listed, with the types that they start."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session
from world import World

RULES = "/scale/api/trigger-rules/"


def rule(kind: str, of_input: str, media_type: str = "image/tiff", **more: Any) -> dict[str, Any]:
    configuration = {
        "version": "1.0",
        "condition": {"media_type": media_type, "data_types": []},
        "data": {"input_data_name": of_input, "workspace_name": "products"},
    }
    return {"type": kind, "is_active": True, "configuration": configuration, **more}


def test_rules(client: httpx.Client, world: World, session: Session, op: dict[str, str]) -> None:
    # The installation's own clock rules are there from the beginning.
    own = client.get(RULES, headers=op).json()["results"]
    assert {each["type"] for each in own} == {"CLOCK"}
    assert {(each["job_type"], each["recipe_type"]) for each in own} == {(None, None)}
    job_type = world.job_type("unpack", trigger_rule=rule("PARSE", "input"))
    uses = [{"recipe_input": "scene", "job_input": "input"}]
    jobs = [{"name": "x", "job_type": {"name": "unpack", "version": "1.0"}, "recipe_inputs": uses}]
    recipe_type = world.recipe_type("scenes", jobs, trigger_rule=rule("INGEST", "scene", name="mine"))
    changed = {"trigger_rule": rule("PARSE", "input", "image/png")}
    address = f"/scale/api/job-types/{job_type.id}/"
    current = client.patch(address, json=changed, headers=op).json()["trigger_rule"]
    toggled = client.patch(
        f"/scale/api/recipe-types/{recipe_type.id}/",
        json={"trigger_rule": {"is_active": False}},
        headers=op,
    ).json()["trigger_rule"]

    def listed(query: str) -> list[Any]:
        answer = client.get(f"{RULES}?{query}", headers=op)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    old, of_job, of_recipe = [
        *listed("type=PARSE&order=id"),
        *listed("type=INGEST"),
    ]
    eight = ["id", "type", "name", "is_active", "configuration", "created", "archived", "last_modified"]
    assert list(of_job) == [*eight, "job_type", "recipe_type"]
    assert {name: of_job[name] for name in eight} == current
    assert {name: of_recipe[name] for name in eight} == toggled
    assert (of_job["job_type"]["name"], of_job["recipe_type"]) == ("unpack", None)
    assert (of_recipe["job_type"], of_recipe["recipe_type"]["title"]) == (None, recipe_type.title)
    assert (of_recipe["name"], of_recipe["is_active"], of_recipe["archived"]) == ("mine", False, None)
    assert (old["is_active"], old["job_type"], old["recipe_type"]) == (False, None, None)
    assert old["archived"].endswith("Z")
    for query, expected in {
        "name=mine&name=unpack&is_active=true": [of_job],
        "name=mine&is_active=f": [of_recipe],
        "type=PARSE&order=-created": [of_job, old],
        "ended=PT1H": [],
        "type=PARSE&page_size=1&page=2&order=id": [of_job],
    }.items():
        assert listed(query) == expected, query
    for each in (old, of_job, of_recipe):
        assert client.get(f"{RULES}{each['id']}/", headers=op).json() == each
    for query in ("type=MANUAL", "is_active=maybe", "order=configuration", "started=x", "page=99"):
        assert client.get(f"{RULES}?{query}", headers=op).status_code == 400, query


@pytest.mark.parametrize("number", ["0", "999", "-1", "x", str(2**70)])
def test_there_is_no_such_rule(
    client: httpx.Client, database: str, viewer: dict[str, str], number: str
) -> None:
    assert client.get(f"{RULES}{number}/", headers=viewer).status_code == 404
