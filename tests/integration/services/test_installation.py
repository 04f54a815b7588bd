# SPDX-License-Identifier: Apache-2.0
"""A new installation gets everything once; a second time changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from scale_airflow.engine.connections import stored_connection
from scale_airflow.errors import InstallationError
from scale_airflow.services import installation
from scale_airflow.store.models import ErrorModel, JobType, JobTypeRevision, Scheduler, TriggerRule

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def test_initialize_makes_everything_once(session: Session) -> None:
    done = installation.initialize(session)
    assert len(done.created) == 8 + 5 + 3 + 1 + 1
    assert done.updated == []

    errors = session.scalars(select(ErrorModel).order_by(ErrorModel.id)).all()
    assert [error.name for error in errors] == [
        "unknown",
        "database",
        "filesystem-io",
        "nfs",
        "node-lost",
        "timeout",
        "scheduler-lost",
        "mesos-lost",
    ]
    assert {error.category for error in errors} == {"SYSTEM"}
    assert session.get(Scheduler, 1) is not None

    again = installation.initialize(session)
    assert (again.created, again.updated) == ([], [])


def test_system_job_types_are_as_the_specification_says(session: Session) -> None:
    installation.initialize(session)
    found = {
        each.name: (
            each.icon_code,
            each.priority,
            each.timeout,
            each.max_tries,
            each.is_long_running,
            each.mem_required,
        )
        for each in session.scalars(select(JobType))
    }
    assert found == {
        "scale-cleanup": ("f1b8", 2, 600, 1, False, 64.0),
        "scale-clock": ("f017", 1, 0, 3, True, 64.0),
        "scale-ingest": ("f0f5", 10, 3600, 3, False, 5120.0),
        "scale-strike": ("f0e7", 5, 0, 3, True, 64.0),
        "scale-daily-metrics": ("f201", 20, 3600, 3, False, 64.0),
    }
    kinds = session.execute(
        select(JobType.is_system, JobType.category, JobType.version, JobType.uses_docker)
    ).all()
    assert set(kinds) == {(True, "system", "1.0", False)}
    revisions = session.scalars(select(JobTypeRevision)).all()
    assert [(revision.revision_num, revision.dag_id) for revision in revisions] == [(1, None)] * 5


def test_built_in_clock_rules(session: Session) -> None:
    installation.initialize(session)
    rules = {rule.name: rule for rule in session.scalars(select(TriggerRule))}
    assert {name: rule.is_active for name, rule in rules.items()} == {
        "scale-job-load": True,
        "scale-daily-metrics": True,
        "scale-resource-metrics": False,
    }
    assert rules["scale-job-load"].configuration == {
        "version": "1.0",
        "event_type": "JOB_LOAD",
        "schedule": "PT1H0M0S",
    }


def test_changed_built_in_error_is_put_right(session: Session) -> None:
    installation.initialize(session)
    session.execute(text("UPDATE scale_error SET category = 'DATA' WHERE name = 'nfs'"))
    session.expire_all()
    assert installation.initialize(session).updated == ["error nfs"]


def test_connection_has_a_random_secret_that_survives(session: Session) -> None:
    installation.initialize(session, host="http://scale.example:8080/air/")
    first = stored_connection(session, "scale_default")
    assert first is not None
    assert (first.type, first.host) == ("scale", "http://scale.example:8080/air")
    assert first.secret is not None
    assert len(first.secret) >= 40
    assert first.secret not in repr(first)

    installation.initialize(session)
    assert stored_connection(session, "scale_default") == first

    done = installation.initialize(session, host="http://other:1")
    assert done.updated == ["connection scale_default"]
    moved = stored_connection(session, "scale_default")
    assert moved is not None
    assert (moved.host, moved.secret) == ("http://other:1", first.secret)


def test_host_comes_from_airflow(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/air/")
    installation.initialize(session)
    found = stored_connection(session, "scale_default")
    assert found is not None
    assert found.host == "https://airflow.example/air"


def test_rotate_secret_changes_the_secret_alone(session: Session) -> None:
    with pytest.raises(InstallationError, match="airflow scale init"):
        installation.rotate_secret(session)
    installation.initialize(session, host="http://here:8080")
    first = stored_connection(session, "scale_default")
    installation.rotate_secret(session)
    second = stored_connection(session, "scale_default")
    assert first is not None
    assert second is not None
    assert second.host == first.host
    assert second.secret != first.secret


def test_rotate_secret_mends_one_that_is_unreadable(session: Session) -> None:
    installation.initialize(session, host="http://here:8080")
    session.execute(text("UPDATE connection SET password = 'garbage', is_encrypted = true"))
    found = stored_connection(session, "scale_default")
    assert found is not None
    assert found.is_unreadable
    installation.rotate_secret(session)
    found = stored_connection(session, "scale_default")
    assert found is not None
    assert (found.host, found.is_unreadable) == ("http://here:8080", False)
    assert found.secret


def test_missing_tables_are_named_with_the_remedy(session: Session) -> None:
    session.execute(text("ALTER TABLE scale_job_log RENAME TO somewhere_else"))
    try:
        with pytest.raises(InstallationError, match=r"scale_job_log.*airflow db migrate"):
            installation.initialize(session)
    finally:
        session.rollback()


def test_another_database_is_refused() -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session as PlainSession

    with (
        PlainSession(create_engine("sqlite://")) as other,
        pytest.raises(InstallationError, match="PostgreSQL"),
    ):
        installation.initialize(other)
