# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dag import DagModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from world import World

from scale_airflow.engine import publishing
from scale_airflow.errors import EngineError, InvalidDocument, NotFound
from scale_airflow.services.strikes import (
    create_strike,
    edit_strike,
    ensure_strike,
    get_strike,
    switch_strike,
    validate_strike,
)
from scale_airflow.store.models import Job, JobExecution, Strike, TriggerEvent
from scale_airflow.store.session import transaction


@pytest.fixture(scope="module", autouse=True)
def _fab_is_imported() -> None:
    """Import what Airflow imports when it first stores a DAG under FAB; its warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.providers.fab.www.security_appless  # noqa: F401


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    from scale_airflow.engine.bundle_row import configured_bundle

    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SCALE__DAGS_DIR", str(tmp_path / "dags"))
    configured_bundle.cache_clear()
    made = World(session)
    made.install(tmp_path)
    yield made
    configured_bundle.cache_clear()


def configuration(path: str = "/in", workspace: str = "raw", **changes: Any) -> dict[str, Any]:
    rule = {"filename_regex": ".*txt", "workspace_path": "/my/path", "workspace_name": workspace}
    return {
        "version": "1.0",
        "mount": f"host:{path}",
        "transfer_suffix": "_tmp",
        "files_to_ingest": [rule],
        **changes,
    }


def document(name: str = "my strike", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": "My Strike",
        "description": None,
        "configuration": configuration(),
        **changes,
    }


def places(error: InvalidDocument) -> list[str]:
    return [fault.path for fault in error.faults]


def test_a_strike_process_has_its_job_and_its_dag(world: World) -> None:
    with transaction() as session:
        strike_id = create_strike(session, document()).id
    strike = get_strike(world.session, strike_id)
    assert (strike.name, strike.title, strike.is_active) == ("my strike", "My Strike", True)
    job = strike.job
    assert job is not None
    assert (job.job_type.name, job.status, job.num_exes, job.priority) == ("scale-strike", "RUNNING", 1, 5)
    assert job.event.type == "STRIKE_CREATED"
    assert [execution.status for execution in job.executions] == ["RUNNING"]
    dag = world.session.scalars(select(DagModel).where(DagModel.dag_id == strike.dag_id)).one()
    assert (dag.is_stale, dag.is_paused, dag.max_active_runs) == (False, False, 1)


def test_a_name_that_exists_and_a_watched_directory_are_refused(world: World) -> None:
    create_strike(world.session, document())
    with pytest.raises(InvalidDocument) as caught:
        create_strike(world.session, document())
    assert places(caught.value) == ["/name"]
    with pytest.raises(InvalidDocument, match="watches the directory /in already") as caught:
        create_strike(world.session, document("other", configuration=configuration("/in/")))
    assert places(caught.value) == ["/configuration/mount"]
    create_strike(world.session, document("other", configuration=configuration("/elsewhere")))


def test_every_fault_is_told_at_once(world: World) -> None:
    create_strike(world.session, document())
    world.workspace("products").is_active = False
    world.session.flush()
    wrong = configuration(
        files_to_ingest=[
            {"filename_regex": ".*", "workspace_path": "a", "workspace_name": "rwa"},
            {"filename_regex": ".*", "workspace_path": "a", "workspace_name": "products"},
        ]
    )
    with pytest.raises(InvalidDocument) as caught:
        create_strike(world.session, document("other", configuration=wrong))
    assert places(caught.value) == [
        "/configuration/mount",
        "/configuration/files_to_ingest/0/workspace_name",
        "/configuration/files_to_ingest/1/workspace_name",
    ]
    assert 'Did you mean "raw"?' in caught.value.faults[1].message
    with pytest.raises(InvalidDocument) as caught:
        validate_strike(world.session, {"name": "", "configuration": {"mount": "nowhere"}, "more": 1})
    assert len(caught.value.faults) >= 5
    assert world.session.scalar(select(func.count()).select_from(Strike)) == 1


def test_what_airflow_does_not_take_is_not_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dag_file: object) -> None:
        raise EngineError("Airflow can't store the DAG")

    monkeypatch.setattr(publishing, "publish", refuse)
    with pytest.raises(EngineError), transaction() as session:
        create_strike(session, document())
    for model in (Strike, Job, JobExecution, TriggerEvent):
        assert world.session.scalar(select(func.count()).select_from(model)) == 0


def test_applying_the_same_again_changes_nothing(world: World) -> None:
    first, is_new = ensure_strike(world.session, name="s", title="T", configuration=configuration())
    world.session.commit()
    assert is_new
    changed = first.last_modified
    again, is_new = ensure_strike(world.session, name="s", title="T", configuration=configuration())
    world.session.commit()
    assert (again.id, is_new, again.last_modified) == (first.id, False, changed)
    edited, _ = ensure_strike(world.session, name="s", title="U", configuration=configuration("/other"))
    world.session.commit()
    assert (edited.id, edited.title, edited.configuration["mount"]) == (first.id, "U", "host:/other")
    assert edited.last_modified > changed
    assert world.session.scalar(select(func.count()).select_from(Job)) == 1


def test_an_edit_changes_what_it_names(world: World) -> None:
    strike = create_strike(world.session, document())
    edit_strike(world.session, strike.id, {"title": "Other"})
    assert (strike.title, strike.configuration["mount"]) == ("Other", "host:/in")
    with pytest.raises(InvalidDocument):
        edit_strike(world.session, strike.id, {"name": "other"})
    with pytest.raises(NotFound):
        edit_strike(world.session, strike.id + 1, {"title": "Other"})


def test_a_strike_process_is_switched_off_and_on(world: World) -> None:
    strike = create_strike(world.session, document())
    world.session.commit()
    switch_strike(world.session, strike.id, is_active=False)
    world.session.commit()
    assert strike.job is not None
    assert (strike.is_active, strike.job.status) == (False, "CANCELED")
    create_strike(world.session, document("other"))
    world.session.commit()
    with pytest.raises(InvalidDocument, match="watches the directory"):
        switch_strike(world.session, strike.id, is_active=True)
    world.session.rollback()
    edit_strike(world.session, strike.id, {"configuration": configuration("/third")})
    switch_strike(world.session, strike.id, is_active=True)
    world.session.commit()
    assert (strike.is_active, strike.job.status, strike.job.num_exes) == (True, "RUNNING", 2)
