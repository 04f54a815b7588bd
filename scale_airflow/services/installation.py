# SPDX-License-Identifier: Apache-2.0
"""What a new installation begins with: errors, system job types, clock rules, and the workers' secret."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.config import CONNECTION_ID
from scale_airflow.engine.connections import store_connection, stored_connection
from scale_airflow.errors import InstallationError
from scale_airflow.services.lookup import lock_name
from scale_airflow.store.models import (
    ErrorModel,
    JobType,
    JobTypeRevision,
    RecipeType,
    Scheduler,
    TriggerRule,
)
from scale_airflow.store.session import require_postgresql

CONNECTION_TYPE = "scale"
SYSTEM_CATEGORY = "system"
SYSTEM_VERSION = "1.0"

_CONNECTION_DESCRIPTION = "How Scale's workers reach the API server; made by `airflow scale init`."

#: Name, title and description of the errors that Scale itself reports; all are of the category SYSTEM.
BUILT_IN_ERRORS: tuple[tuple[str, str, str], ...] = (
    ("unknown", "Unknown", "The error that caused the failure is unknown."),
    ("database", "Database", "The job failed because of an error of the database."),
    ("filesystem-io", "Filesystem I/O", "The job failed because a file could not be read or written."),
    ("nfs", "NFS", "The job failed because a network file system could not be used."),
    ("node-lost", "Node Lost", "The node that ran the job stopped answering before the job was done."),
    ("timeout", "Timeout", "The job ran longer than its job type allows."),
    ("scheduler-lost", "Scheduler Lost", "The scheduler lost track of the job."),
    ("mesos-lost", "Task Lost", "The task that ran the job was lost before it reported how it ended."),
)

#: Name, title, description, and what differs from a job type's defaults.
SYSTEM_JOB_TYPES: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
    (
        "scale-cleanup",
        "Scale Cleanup",
        "Removes what executions left on a node",
        {"icon_code": "f1b8", "priority": 2, "timeout": 600, "max_tries": 1, "inputs": {"Node ID": True}},
    ),
    (
        "scale-clock",
        "Scale Clock",
        "Fires the clock trigger rules that are due",
        {"icon_code": "f017", "priority": 1, "timeout": 0, "is_long_running": True, "inputs": {}},
    ),
    (
        "scale-ingest",
        "Scale Ingest",
        "Ingests a source file into a workspace",
        {
            "icon_code": "f0f5",
            "priority": 10,
            "timeout": 3600,
            "mem_required": 5120.0,
            "inputs": {"Ingest ID": True, "Mount": False},
        },
    ),
    (
        "scale-strike",
        "Scale Strike",
        "Monitors a directory for incoming files to ingest",
        {
            "icon_code": "f0e7",
            "priority": 5,
            "timeout": 0,
            "is_long_running": True,
            "inputs": {"Strike ID": True},
        },
    ),
    (
        "scale-daily-metrics",
        "Scale Daily Metrics",
        "Works out the metrics of one day",
        {"icon_code": "f201", "priority": 20, "timeout": 3600, "inputs": {"Day": True}},
    ),
)

#: Name, event type, schedule and whether it is active, of the clock rules that belong to no type.
CLOCK_RULES: tuple[tuple[str, str, str, bool], ...] = (
    ("scale-job-load", "JOB_LOAD", "PT1H0M0S", True),
    ("scale-daily-metrics", "DAILY_METRICS", "PT24H0M0S", True),
    ("scale-resource-metrics", "RESOURCE_METRICS", "PT1H0M0S", False),
)


@dataclass(slots=True)
class Initialization:
    """What :func:`initialize` made or changed, one line each; empty if everything was there."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)


def initialize(session: Session, *, host: str | None = None) -> Initialization:
    """Make everything that Scale needs before its first job; what is there already stays.

    :param host: base URL of the API server for the connection ``scale_default``, e.g.
        ``http://localhost:8080``; by default from ``[api] base_url``. Given, it replaces an existing one.
    :raises InstallationError: if the metadata database is not PostgreSQL, or has no Scale tables.
    """
    require_postgresql(session)
    require_tables(session)
    lock_name(session, "installation")
    done = Initialization()
    _make_errors(session, done)
    _make_job_types(session, done)
    _make_clock_rules(session, done)
    if session.get(Scheduler, 1) is None:
        session.add(Scheduler(id=1))
        done.created.append("the scheduler's state")
    session.flush()
    _make_connection(session, host, done)
    return done


def rotate_secret(session: Session) -> None:
    """Give the connection ``scale_default`` a new random secret; workers read it with their next claim.

    :raises InstallationError: if there is no such connection yet.
    """
    found = stored_connection(session, CONNECTION_ID)
    if found is None:
        raise InstallationError(f"There is no connection {CONNECTION_ID}.", "Run `airflow scale init`.")
    _store_connection(session, found.host or default_host())


def require_tables(session: Session) -> None:
    """Refuse a database that lacks Scale's tables.

    :raises InstallationError: naming the first table that is missing.
    """
    missing = missing_tables(session)
    if missing:
        raise InstallationError(
            f"The metadata database lacks {len(missing)} of Scale's tables ({missing[0]} and others)."
            if len(missing) > 1
            else f"The metadata database lacks Scale's table {missing[0]}.",
            "Run `airflow db migrate` with this provider installed.",
        )


def missing_tables(session: Session) -> list[str]:
    """Return the names of Scale's tables that the database lacks, sorted."""
    from sqlalchemy import inspect

    there = set(inspect(session.connection()).get_table_names())
    return sorted(set(ErrorModel.metadata.tables) - there)


def default_host() -> str:
    """Return the API server's base URL as Airflow's configuration says it, without a slash at its end."""
    from airflow.configuration import conf

    configured = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return configured or f"http://localhost:{conf.getint('api', 'port', fallback=8080)}"


def _make_errors(session: Session, done: Initialization) -> None:
    existing = {error.name: error for error in session.scalars(select(ErrorModel))}
    for name, title, description in BUILT_IN_ERRORS:
        error = existing.get(name)
        if error is None:
            session.add(ErrorModel(name=name, title=title, description=description, category="SYSTEM"))
            done.created.append(f"error {name}")
        elif (error.title, error.description, error.category) != (title, description, "SYSTEM"):
            error.title, error.description, error.category = title, description, "SYSTEM"
            done.updated.append(f"error {name}")


def _make_job_types(session: Session, done: Initialization) -> None:
    for name, title, description, differences in SYSTEM_JOB_TYPES:
        values = dict(differences)
        interface = _system_interface(name, values.pop("inputs"))
        existing = session.scalar(
            select(JobType)
            .where(JobType.name == name, JobType.version == SYSTEM_VERSION)
            .with_for_update(of=JobType)
        )
        if existing is not None:
            continue
        job_type = JobType(
            name=name,
            version=SYSTEM_VERSION,
            title=title,
            description=description,
            category=SYSTEM_CATEGORY,
            is_system=True,
            uses_docker=False,
            interface=interface,
            error_mapping={"version": "1.0", "exit_codes": {}},
            **values,
        )
        session.add(job_type)
        session.flush()
        session.add(JobTypeRevision(job_type_id=job_type.id, revision_num=1, interface=interface))
        done.created.append(f"job type {name} {SYSTEM_VERSION}")


def _system_interface(name: str, inputs: Mapping[str, bool]) -> dict[str, Any]:
    return {
        "version": "1.0",
        "command": name,
        "command_arguments": " ".join(f"${{{each}}}" for each in inputs),
        "input_data": [
            {"name": each, "type": "property", "required": required} for each, required in inputs.items()
        ],
        "output_data": [],
        "shared_resources": [],
    }


def _make_clock_rules(session: Session, done: Initialization) -> None:
    owned = select(JobType.trigger_rule_id).where(JobType.trigger_rule_id.is_not(None))
    owned_by_recipes = select(RecipeType.trigger_rule_id).where(RecipeType.trigger_rule_id.is_not(None))
    existing = set(
        session.scalars(
            select(TriggerRule.name).where(
                TriggerRule.type == "CLOCK",
                TriggerRule.archived.is_(None),
                TriggerRule.id.not_in(owned),
                TriggerRule.id.not_in(owned_by_recipes),
            )
        )
    )
    for name, event_type, schedule, is_active in CLOCK_RULES:
        if name in existing:
            continue
        configuration = {"version": "1.0", "event_type": event_type, "schedule": schedule}
        session.add(TriggerRule(type="CLOCK", name=name, is_active=is_active, configuration=configuration))
        done.created.append(f"clock rule {name}")


def _make_connection(session: Session, host: str | None, done: Initialization) -> None:
    found = stored_connection(session, CONNECTION_ID)
    if found is None:
        _store_connection(session, host or default_host())
        done.created.append(f"connection {CONNECTION_ID}")
        return
    wanted = (host or found.host or default_host()).rstrip("/")
    if found.secret is None or found.type != CONNECTION_TYPE or found.host != wanted:
        _store_connection(session, wanted, found.secret)
        done.updated.append(f"connection {CONNECTION_ID}")


def _store_connection(session: Session, host: str, secret: str | None = None) -> None:
    store_connection(
        session,
        CONNECTION_ID,
        type=CONNECTION_TYPE,
        host=host.rstrip("/"),
        secret=secret or secrets.token_urlsafe(32),
        description=_CONNECTION_DESCRIPTION,
    )
