# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import (
    DagFile,
    clock_dag_file,
    job_dag_file,
    recipe_dag_file,
    strike_dag_file,
)
from scale_airflow.engine.publishing import hide, publish, show
from scale_airflow.engine.runs import cancel_tasks, create_run
from scale_airflow.errors import EngineError
from scale_airflow.store.session import transaction

INTERFACE = {"version": "1.0", "command": "make", "command_arguments": ""}


def dag_row(session: Session, dag_id: str) -> Any:
    from airflow.models.dag import DagModel

    session.expire_all()
    return session.get_one(DagModel, dag_id)


def test_what_was_published_can_run_in_the_very_next_transaction(
    session: Session, published: DagFile, schedule: Callable[[str, str], None]
) -> None:
    from airflow.models.taskinstance import TaskInstance

    assert create_run(session, dag_id=published.dag_id, run_id="scale-recipe-1", conf={"a": 1}, priority=5)
    session.commit()
    schedule(published.dag_id, "scale-recipe-1")
    tasks = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == published.dag_id)).unique()
    assert {task.task_id: task.state for task in tasks} == {
        "first": "scheduled",
        names.task_id("second job"): None,
    }


def test_the_dag_shows_names_revision_and_definition(
    session: Session, published: DagFile, recipe: dict[str, Any]
) -> None:
    from airflow.models.dagcode import DagCode
    from airflow.models.serialized_dag import SerializedDagModel

    row = dag_row(session, published.dag_id)
    assert row.dag_display_name == "terrain maps 1.0.0 (revision 1)"
    assert row.description == "Terrain"
    assert sorted(tag.name for tag in row.tags) == ["revision 1", "scale", "scale recipe"]
    assert not row.is_paused
    assert row.relative_fileloc == f"{published.dag_id}/{published.file_name}"
    assert DagCode.code(published.dag_id, session=session) == published.source
    dag = SerializedDagModel.get_dag(published.dag_id, session=session)
    assert dag is not None
    second = dag.get_task(names.task_id("second job"))
    assert second.task_display_name == "second job"
    assert second.upstream_task_ids == {"first"}
    assert second.pool == names.pool_name("finder", "1.0")
    assert "Absolute" in type(second.weight_rule).__name__
    assert dag.params.dump() == {"image": None, "workspace_id": None}


def test_publishing_again_changes_nothing(session: Session, published: DagFile) -> None:
    from airflow.models.dag_version import DagVersion

    before = dag_row(session, published.dag_id).relative_fileloc
    publish(published)
    assert dag_row(session, published.dag_id).relative_fileloc == before
    assert session.scalar(select(func.count()).select_from(DagVersion)) == 1


def test_publishing_repairs_a_damaged_file(published: DagFile, dags_dir: Path) -> None:
    path = dags_dir / published.dag_id / published.file_name
    path.write_text("raise SystemExit(1)\n")
    publish(published)
    assert path.read_text() == published.source


def test_an_edited_strike_replaces_its_file(session: Session, database: str, dags_dir: Path) -> None:
    before, after = strike_dag_file("raw files", 1, "Before"), strike_dag_file("raw files", 1, "After")
    publish(before)
    publish(after)
    row = dag_row(session, after.dag_id)
    assert row.description == "After"
    assert row.relative_fileloc.endswith(after.file_name)
    assert row.max_active_runs == 1
    assert row.timetable_summary == "@continuous"
    assert (dags_dir / after.dag_id / ".airflowignore").read_text() == f"{before.file_name}\n"


def test_a_clock_rule_waits_for_its_next_whole_period(
    session: Session, database: str, dags_dir: Path
) -> None:
    start = datetime.now(timezone.utc)
    dag_file = clock_dag_file(7, "each hour", "PT1H", "Maps", start=start)
    publish(dag_file)
    row = dag_row(session, dag_file.dag_id)
    full_hour = start.replace(minute=0, second=0, microsecond=0)
    assert row.next_dagrun_create_after == full_hour + timedelta(hours=1)
    assert row.timetable_summary == "PT1H"


def test_threads_may_publish_the_same_dag_at_once(session: Session, database: str, dags_dir: Path) -> None:
    from airflow.models.dag_version import DagVersion

    dag_file = job_dag_file("maker", "1.0", 1, None, INTERFACE)
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def run() -> None:
        try:
            start.wait()
            publish(dag_file)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert session.scalar(select(func.count()).select_from(DagVersion)) == 1


def test_the_bundles_row_is_made_when_no_dag_processor_ever_ran(
    session: Session, database: str, dags_dir: Path
) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from sqlalchemy import delete

    session.execute(delete(DagBundleModel))
    session.commit()
    publish(job_dag_file("maker", "1.0", 1, None, INTERFACE))
    assert session.scalars(select(DagBundleModel.name)).all() == ["scale"]


def test_a_file_that_makes_no_dag_is_an_error_that_says_why(
    session: Session, database: str, dags_dir: Path
) -> None:
    from airflow.models.dag import DagModel

    broken = DagFile.of("scale_job.broken.1.r1", "# airflow\ndag = 1 / 0\n")
    with pytest.raises(EngineError, match="ZeroDivisionError: division by zero"):
        publish(broken)
    other = DagFile.of("scale_job.other.1.r1", job_dag_file("maker", "1", 1, None, INTERFACE).source)
    with pytest.raises(EngineError, match=r"does not hold the DAG scale_job\.other"):
        publish(other)
    assert session.scalar(select(func.count()).select_from(DagModel)) == 0


def test_airflows_refusal_is_an_error_with_its_words(
    session: Session, published: DagFile, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    def refuse(*_: object, **__: object) -> bool:
        raise RuntimeError("the disk is made of cheese")

    monkeypatch.setattr(SerializedDagModel, "write_dag", refuse)
    second = recipe_dag_file("terrain maps", "1.0.0", 2, "Terrain", recipe)
    with pytest.raises(EngineError, match="made of cheese"):
        publish(second)
    from airflow.models.dag import DagModel

    assert session.get(DagModel, second.dag_id) is None


def test_the_installations_policies_hold_from_the_start(
    session: Session, database: str, dags_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow import settings
    from airflow.exceptions import AirflowClusterPolicyViolation
    from airflow.models.serialized_dag import SerializedDagModel

    def large(task: Any) -> None:
        task.queue = "large"

    def refuse(task: Any) -> None:
        raise AirflowClusterPolicyViolation("no jobs on Sundays")

    monkeypatch.setattr(settings, "task_policy", large)
    dag_file = job_dag_file("maker", "1.0", 1, None, INTERFACE)
    publish(dag_file)
    dag = SerializedDagModel.get_dag(dag_file.dag_id, session=session)
    assert dag is not None
    assert [task.queue for task in dag.tasks] == ["large"]
    monkeypatch.setattr(settings, "task_policy", refuse)
    with pytest.raises(EngineError, match="no jobs on Sundays"):
        publish(job_dag_file("maker", "1.0", 2, None, INTERFACE))


def test_a_dropped_write_is_noticed(database: str, dags_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(strike_dag_file("raw", 1, "Before"))
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "30")
    with pytest.raises(EngineError, match="min_serialized_dag_update_interval = 0"):
        publish(strike_dag_file("raw", 1, "After"))


def test_hidden_dags_come_back(session: Session, published: DagFile, dags_dir: Path) -> None:
    ignore = dags_dir / published.dag_id / ".airflowignore"
    assert hide([published.dag_id, "scale_recipe.unknown"], session) == [published.dag_id]
    session.commit()
    assert dag_row(session, published.dag_id).is_stale
    assert ignore.read_text() == f"{published.file_name}\n"
    assert hide([published.dag_id], session) == []
    show([published.dag_id], session)
    session.commit()
    assert not dag_row(session, published.dag_id).is_stale
    assert not ignore.exists()


def test_a_dag_with_an_unfinished_run_is_not_hidden(
    session: Session, published: DagFile, schedule: Callable[[str, str], None]
) -> None:
    address = {"dag_id": published.dag_id, "run_id": "scale-recipe-1"}
    create_run(session, **address, conf={}, priority=5)
    session.commit()
    assert hide([published.dag_id], session) == []
    cancel_tasks(session, **address, task_ids=["first"])
    session.commit()
    schedule(**address)
    schedule(**address)
    assert hide([published.dag_id], session) == [published.dag_id]


def test_a_new_run_shows_a_hidden_dag(session: Session, published: DagFile) -> None:
    hide([published.dag_id], session)
    create_run(session, dag_id=published.dag_id, run_id="scale-recipe-1", conf={}, priority=5)
    session.commit()
    assert not dag_row(session, published.dag_id).is_stale


def test_publishing_again_brings_a_hidden_dag_back(
    session: Session, published: DagFile, dags_dir: Path
) -> None:
    hide([published.dag_id], session)
    session.commit()
    publish(published)
    assert not dag_row(session, published.dag_id).is_stale
    assert not (dags_dir / published.dag_id / ".airflowignore").exists()


def test_a_dag_is_not_hidden_while_a_run_of_it_is_being_created(session: Session, published: DagFile) -> None:
    create_run(session, dag_id=published.dag_id, run_id="scale-recipe-1", conf={}, priority=5)
    with transaction() as other:
        assert hide([published.dag_id], other) == []
    session.commit()
    with transaction() as other:
        assert hide([published.dag_id], other) == []
    assert not dag_row(session, published.dag_id).is_stale


def test_a_run_that_is_created_while_its_dag_is_being_hidden_shows_it(
    session: Session, published: DagFile, dags_dir: Path
) -> None:
    assert hide([published.dag_id], session) == [published.dag_id]

    def create() -> None:
        with transaction() as other:
            create_run(other, dag_id=published.dag_id, run_id="scale-recipe-1", conf={}, priority=5)

    thread = threading.Thread(target=create)
    thread.start()
    wait_until_blocked(session)
    session.commit()
    thread.join()
    assert not dag_row(session, published.dag_id).is_stale
    assert not (dags_dir / published.dag_id / ".airflowignore").exists()


def test_a_hiding_that_is_rolled_back_keeps_no_run_from_starting(
    session: Session, published: DagFile, dags_dir: Path
) -> None:
    hide([published.dag_id], session)
    session.rollback()
    create_run(session, dag_id=published.dag_id, run_id="scale-recipe-1", conf={}, priority=5)
    session.commit()
    assert not (dags_dir / published.dag_id / ".airflowignore").exists()


def wait_until_blocked(session: Session) -> None:
    """Wait until another connection waits for a lock of this session's transaction."""
    give_up = time.monotonic() + 30
    while session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) == 0:
        assert time.monotonic() < give_up, "nobody came to wait"
