# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.services.triggers import active_rules, evaluate_ingest, evaluate_parse
from scale_airflow.store.models import (
    Ingest,
    Job,
    JobExecution,
    Recipe,
    ScaleFile,
    Strike,
    TriggerEvent,
    TriggerRule,
    utcnow,
)

ZIP = "application/zip"


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


def rule(kind: str = "INGEST", *, name: str = "input", **condition: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "configuration": {
            "version": "1.0",
            "condition": condition,
            "data": {"input_data_name": name, "workspace_name": "products"},
        },
    }


@pytest.fixture
def ingest(world: World) -> Ingest:
    strike = Strike(name="s", configuration={}, dag_id="d")
    world.session.add(strike)
    world.session.flush()
    made = Ingest(strike_id=strike.id, file_name="scene.zip", transfer_path="/in/scene.zip")
    world.session.add(made)
    world.session.commit()
    return made


def events(world: World) -> list[TriggerEvent]:
    return list(world.session.scalars(select(TriggerEvent).order_by(TriggerEvent.id)))


def test_every_matching_rule_starts_its_type(world: World, ingest: Ingest) -> None:
    world.job_type("all", trigger_rule=rule())
    world.job_type("zips", trigger_rule=rule(media_type=ZIP))
    world.job_type("tagged", trigger_rule=rule(data_types=["dem", "terrain"]))
    world.job_type("texts", trigger_rule=rule(media_type="text/plain"))
    world.job_type("other tag", trigger_rule=rule(data_types=["dem", "snow"]))
    world.job_type("on parse", trigger_rule=rule("PARSE"))
    world.job_type("step")
    steps = [
        {
            "name": "one",
            "job_type": {"name": "step", "version": "1.0"},
            "recipe_inputs": [{"recipe_input": "scene", "job_input": "input"}],
        }
    ]
    world.recipe_type("chain", steps, trigger_rule=rule(name="scene"))
    file = world.source(data_type=["terrain", "dem", "more"])
    started = evaluate_ingest(world.session, source_file=file, ingest=ingest)
    world.session.commit()
    names = [
        each.job_type.name if isinstance(each, Job) else each.recipe_type.name
        for each in started
        if isinstance(each, (Job, Recipe))
    ]
    assert names == ["all", "zips", "tagged", "chain"]
    assert len(events(world)) == 4
    for event, each in zip(events(world), started, strict=True):
        assert (event.type, event.rule is not None, each.event_id) == ("INGEST", True, event.id)
        assert event.description == {
            "version": "1.0",
            "ingest_id": ingest.id,
            "file_id": file.id,
            "file_name": file.file_name,
        }
    job = started[0]
    products = world.workspace("products").id
    assert job.data["input_data"] == [{"name": "input", "file_id": file.id}]
    assert job.data["output_data"] == [{"name": "output", "workspace_id": products}]
    assert started[-1].data["workspace_id"] == products


def test_parse_rules_know_the_execution(world: World) -> None:
    world.job_type("on parse", trigger_rule=rule("PARSE"))
    world.job_type("on ingest", trigger_rule=rule())
    file = world.source()
    (job,) = evaluate_parse(world.session, source_file=file, job_exe=JobExecution(id=77))
    assert isinstance(job, Job)
    assert job.job_type.name == "on parse"
    (event,) = events(world)
    assert (event.type, event.description["parse_id"]) == ("PARSE", 77)


def test_a_refused_file_leaves_an_event_with_the_reason_and_harms_nothing(
    world: World, ingest: Ingest
) -> None:
    picky = interface()
    picky["input_data"][0]["media_types"] = ["image/png"]
    world.job_type("picky", picky, trigger_rule=rule())
    world.job_type("modest", trigger_rule=rule())
    file = world.source()
    started = evaluate_ingest(world.session, source_file=file, ingest=ingest)
    world.session.commit()
    assert [each.job_type.name for each in started if isinstance(each, Job)] == ["modest"]
    refused, accepted = events(world)
    assert "application/zip" in refused.description["refused"]
    assert "refused" not in accepted.description
    assert len(world.session.scalars(select(Job)).all()) == 1


def test_a_workspace_that_is_not_active_is_a_reason_too(world: World, ingest: Ingest) -> None:
    world.job_type("one", trigger_rule=rule())
    world.workspace("products").is_active = False
    world.session.commit()
    assert evaluate_ingest(world.session, source_file=world.source(), ingest=ingest) == []
    assert events(world)[0].description["refused"] == "The rule's workspace products is not active."


def test_only_rules_that_count_are_looked_at(world: World) -> None:
    paused = world.job_type("paused", trigger_rule=rule())
    archived = world.job_type("archived", trigger_rule=rule())
    silent = world.job_type("silent", trigger_rule=rule())
    old = world.job_type("old", trigger_rule=rule())
    paused.is_paused = True
    archived.is_active = False
    for job_type in (silent, old):
        assert job_type.trigger_rule is not None
    silent.trigger_rule.is_active = False  # type: ignore[union-attr]
    old.trigger_rule.archived = utcnow()  # type: ignore[union-attr]
    orphan = TriggerRule(type="INGEST", configuration=rule()["configuration"])
    world.session.add(orphan)
    world.session.commit()
    found = active_rules(world.session, "INGEST")
    assert [active.job_type.name for active in found if active.job_type] == ["paused"]


def test_an_edited_rule_counts_as_edited(world: World) -> None:
    job_type = world.job_type("one", trigger_rule=rule(media_type="text/plain"))
    assert active_rules(world.session, "INGEST")[0].configuration.media_type == "text/plain"
    assert job_type.trigger_rule is not None
    job_type.trigger_rule.configuration = rule(media_type=ZIP)["configuration"]
    world.session.commit()
    assert active_rules(world.session, "INGEST")[0].configuration.media_type == ZIP


def test_a_rule_that_can_t_be_read_stops_nobody(world: World, ingest: Ingest) -> None:
    world.job_type("fine", trigger_rule=rule())
    broken = world.job_type("broken", trigger_rule=rule())
    assert broken.trigger_rule is not None
    broken.trigger_rule.configuration = {"version": "7"}
    world.session.commit()
    file: ScaleFile = world.source()
    assert len(evaluate_ingest(world.session, source_file=file, ingest=ingest)) == 1
