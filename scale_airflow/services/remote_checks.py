# SPDX-License-Identifier: Apache-2.0
"""Checks of what runs on other systems: its connections, and what could not be stopped there."""

from __future__ import annotations

import os

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.engine.connections import stored_connection
from scale_airflow.services.findings import Finding
from scale_airflow.services.room import runs_elsewhere
from scale_airflow.store.models import JobExecution, JobType, RemoteJob

_DEFAULT = "rescale_default"
_OVER = ("FAILED", "COMPLETED", "CANCELED")


def check_remote(session: Session, *, has_secrets_backend: bool) -> list[Finding]:
    """Job types on Rescale have their connections, and nothing that should have stopped runs on there.

    :param has_secrets_backend: whether connections may be where nobody can list them.
    """
    return [*_connections(session, has_secrets_backend), *_leftovers(session)]


def _connections(session: Session, has_secrets_backend: bool) -> list[Finding]:
    named = func.coalesce(JobType.configuration["remote"]["connection"].astext, _DEFAULT)
    wanted = session.scalars(
        select(named).where(runs_elsewhere(), JobType.is_active).distinct().order_by(named)
    )
    missing = [
        name
        for name in wanted
        if not has_secrets_backend
        and f"AIRFLOW_CONN_{name.upper()}" not in os.environ
        and stored_connection(session, name) is None
    ]
    return [
        Finding(
            "warning",
            "remote",
            f"Job types run on Rescale with the connection {name!r}, which is not there.",
            f"airflow connections add {name} --conn-type rescale --conn-host … --conn-password YOUR_KEY",
        )
        for name in missing
    ]


def _leftovers(session: Session) -> list[Finding]:
    """What was looked for in vain: it may still run, and cost money."""
    rows = session.execute(
        select(
            RemoteJob.connection, func.count(), func.min(RemoteJob.job_exe_id), func.max(RemoteJob.message)
        )
        .join(JobExecution, JobExecution.id == RemoteJob.job_exe_id)
        .where(JobExecution.status.in_(_OVER), RemoteJob.message.is_not(None))
        .group_by(RemoteJob.connection)
        .order_by(RemoteJob.connection)
    ).all()
    return [
        Finding(
            "warning",
            "remote",
            f"Jobs of {count} executions that are over (execution {first} is one) may still run at the "
            f"connection {connection!r}, which the API server can't use: {message}",
            "Let the API server reach it; until then, stop them on Rescale's pages: their names say the job.",
        )
        for connection, count, first, message in rows
    ]
