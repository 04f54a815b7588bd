# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.engine.health import component_health
from scale_airflow.engine.pools import UNLIMITED, pool_slots, set_pool


def test_a_pool_is_made_and_changed(session: Session) -> None:
    from airflow.models.pool import Pool

    name = names.pool_name("terrain maps", "1.0.0")
    assert pool_slots(session, name) is None
    set_pool(session, name, 4, "Jobs of terrain maps 1.0.0")
    set_pool(session, name, 4, "Jobs of terrain maps 1.0.0")
    assert pool_slots(session, name) == 4
    set_pool(session, name, 0, "Paused")
    assert pool_slots(session, name) == 0
    set_pool(session, name, UNLIMITED, "Open")
    session.commit()
    assert pool_slots(session, name) == -1
    pool = Pool.get_pool(name, session=session)
    assert pool is not None
    assert pool.description == "Open"
    assert not pool.include_deferred


def test_a_component_that_never_ran_is_not_alive(session: Session) -> None:
    health = component_health(session)
    assert set(health) == {"scheduler", "triggerer", "dag_processor"}
    assert not any(each.is_alive for each in health.values())
    assert health["scheduler"].last_heartbeat is None


def test_the_youngest_heartbeat_counts(session: Session) -> None:
    from airflow.jobs.job import Job

    now = datetime.now(timezone.utc)
    for age, host, state in ((3600, "old", "running"), (1, "new", "running")):
        job = Job(job_type="SchedulerJob", state=state)
        job.latest_heartbeat = now - timedelta(seconds=age)
        job.hostname = host
        session.add(job)
    stopped = Job(job_type="TriggererJob", state="success")
    session.add(stopped)
    session.flush()
    health = component_health(session)
    assert health["scheduler"].is_alive
    assert health["scheduler"].hostname == "new"
    assert health["scheduler"].last_heartbeat == now - timedelta(seconds=1)
    assert not health["triggerer"].is_alive
