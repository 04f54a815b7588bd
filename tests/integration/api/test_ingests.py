# SPDX-License-Identifier: Apache-2.0
"""Ingests as the specification's examples show them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from world import World

from scale_airflow.store.models import Ingest, Job, JobTypeRevision, Strike, TriggerEvent

API = "/scale/api"

INGEST = {
    *("id", "file_name", "strike", "status", "bytes_transferred", "transfer_started", "transfer_ended"),
    *("media_type", "file_size", "data_type", "ingest_started", "ingest_ended", "source_file"),
    *("created", "last_modified"),
}


@pytest.fixture
def strike(world: World) -> Strike:
    job_type = world.job_type("watcher")
    revision = world.session.query(JobTypeRevision).filter_by(job_type_id=job_type.id).one()
    event = TriggerEvent(type="STRIKE_CREATED", description={})
    world.session.add(event)
    world.session.flush()
    job = Job(
        job_type_id=job_type.id,
        job_type_rev_id=revision.id,
        event_id=event.id,
        status="RUNNING",
        priority=5,
        timeout=0,
        max_tries=1,
        cpus_required=0.25,
        mem_required=128.0,
        dag_id="d",
        task_id="t",
    )
    world.session.add(job)
    world.session.flush()
    made = Strike(name="mine", title="Mine", configuration={"mount": "host:/x"}, dag_id="d", job_id=job.id)
    world.session.add(made)
    world.session.commit()
    return made


def make(world: World, strike: Strike, name: str, **fields: Any) -> Ingest:
    made = Ingest(file_name=name, strike_id=strike.id, transfer_path=f"/in/{name}", **fields)
    world.session.add(made)
    world.session.commit()
    return made


def test_list(client: httpx.Client, world: World, strike: Strike, viewer: dict[str, str]) -> None:
    source = world.source("b.zip")
    make(world, strike, "a.zip", status="DEFERRED")
    done = make(world, strike, "b.zip", status="INGESTED", source_file_id=source.id, file_size=4)

    def names(query: str) -> list[str]:
        answer = client.get(f"{API}/ingests/?{query}", headers=viewer)
        assert answer.status_code == 200, answer.text
        return [each["file_name"] for each in answer.json()["results"]]

    assert names("") == ["a.zip", "b.zip"]
    assert names("order=-last_modified") == ["b.zip", "a.zip"]
    assert names("order=source_file__created&order=strike__id") == ["b.zip", "a.zip"]
    assert names("status=DEFERRED") == ["a.zip"]
    assert names("status=QUEUED") == []
    assert client.get(f"{API}/ingests/?status=ingested", headers=viewer).status_code == 400
    shown = client.get(f"{API}/ingests/?status=INGESTED", headers=viewer).json()["results"][0]
    assert set(shown) == INGEST
    assert shown["id"] == done.id
    assert shown["strike"] == {"id": strike.id, "job": {"id": strike.job_id}}
    assert shown["source_file"]["file_name"] == "b.zip"
    assert shown["source_file"]["is_parsed"] is False


def test_details(client: httpx.Client, world: World, strike: Strike, viewer: dict[str, str]) -> None:
    made = make(world, strike, "a.zip", file_path="x/a.zip", ingest_path="/in/ingesting/a.zip")
    shown = client.get(f"{API}/ingests/{made.id}/", headers=viewer).json()
    assert set(shown) == INGEST | {"transfer_path", "file_path", "ingest_path", "message"}
    assert shown["source_file"] is None
    assert shown["transfer_path"] == "/in/a.zip"
    assert shown["strike"]["configuration"] == {"mount": "host:/x"}
    assert shown["strike"]["job"]["job_type"]["name"] == "watcher"
    assert shown["strike"]["job"]["job_type_rev"].keys() == {"id"}
    assert client.get(f"{API}/ingests/999/", headers=viewer).status_code == 404
