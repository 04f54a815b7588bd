# SPDX-License-Identifier: Apache-2.0
"""Is the installation fit for work? Each finding says what is wrong and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import column, func, select, table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from scale_airflow.config import CONNECTION_ID, Settings, settings
from scale_airflow.engine.bundle_row import configured_bundle
from scale_airflow.engine.connections import stored_connection
from scale_airflow.engine.health import component_health
from scale_airflow.errors import InstallationError
from scale_airflow.services import file_duties, repairs
from scale_airflow.services.findings import Finding, Level
from scale_airflow.services.installation import BUILT_IN_ERRORS, CONNECTION_TYPE, missing_tables
from scale_airflow.services.remote_checks import check_remote
from scale_airflow.services.room import runs_elsewhere
from scale_airflow.services.storage_checks import check_places, places_of
from scale_airflow.store.models import ErrorModel, JobType, Node, Scheduler, utcnow
from scale_airflow.store.session import require_postgresql

OLDEST_POSTGRESQL = 13
_SKEW_WARNING = timedelta(seconds=2)
_SKEW_ERROR = timedelta(seconds=30)
_SILENCE = timedelta(seconds=60)
_DAY = timedelta(days=1)


def check_installation(session: Session) -> list[Finding]:
    """Run every check; those that need the tables are left out while the tables are missing.

    Reads only. Looks at this host's directories and engine, so it speaks for the host that it runs on.
    """
    try:
        current = settings()
    except InstallationError as error:
        return [Finding("error", "configuration", error.problem, error.remedy)]
    found = [*check_database(session)]
    usable = all(finding.level != "error" for finding in found)
    found += check_airflow_options()
    found += check_bundle()
    found += check_directories(current)
    if usable:
        found += check_initialized(session)
        found += check_connection(session)
        found += check_clock(session)
        found += check_storage(session, current)
        found += check_processes(session)
        found += check_repairs(session)
        found += check_files(session)
        found += check_remote(session, has_secrets_backend=_has_secrets_backend())
    found += check_backend(current, session if usable else None)
    return found


def check_database(session: Session) -> list[Finding]:
    """PostgreSQL of a version that is supported, with Scale's tables as this release wants them."""
    subject = "database"
    try:
        require_postgresql(session)
        version = int(session.execute(text("SHOW server_version_num")).scalar_one()) // 10000
        missing = missing_tables(session)
    except InstallationError as error:
        return [Finding("error", subject, error.problem, error.remedy)]
    except SQLAlchemyError as error:
        problem = f"The metadata database can't be used: {_first_line(error)}"
        return [Finding("error", subject, problem, "Check [database] sql_alchemy_conn and the server.")]
    if version < OLDEST_POSTGRESQL:
        problem = f"PostgreSQL {version} is too old."
        return [Finding("error", subject, problem, f"Use PostgreSQL {OLDEST_POSTGRESQL} or later.")]
    remedy = "Run `airflow db migrate` with this provider installed."
    if missing:
        return [Finding("error", subject, f"These tables are missing: {', '.join(missing)}.", remedy)]
    if not _is_migrated(session):
        problem = "Scale's tables are of another release of this provider."
        return [Finding("error", subject, problem, remedy)]
    return [Finding("ok", subject, f"PostgreSQL {version} with all of Scale's tables.")]


def _is_migrated(session: Session) -> bool:
    from alembic.script import ScriptDirectory

    from scale_airflow.store.manager import ScaleDBManager

    # Airflow's base class has no annotations.
    manager: Any = ScaleDBManager(session)  # type: ignore[no-untyped-call]
    wanted = ScriptDirectory.from_config(manager.get_alembic_config()).get_current_head()
    versions = table(ScaleDBManager.version_table_name, column("version_num"))
    return session.scalars(select(versions.c.version_num)).all() == [wanted]


def check_initialized(session: Session) -> list[Finding]:
    """Built-in errors, system job types and the scheduler's row are there."""
    names = [name for name, _, _ in BUILT_IN_ERRORS]
    errors = session.scalar(
        select(func.count())
        .select_from(ErrorModel)
        .where(ErrorModel.name.in_(names), ErrorModel.category == "SYSTEM")
    )
    is_complete = (
        errors == len(names)
        and session.get(Scheduler, 1) is not None
        and session.scalar(select(JobType.id).where(JobType.is_system).limit(1)) is not None
    )
    if is_complete:
        return [Finding("ok", "initialization", "Built-in errors and system job types are there.")]
    problem = "Built-in errors, system job types or the scheduler's row are missing."
    return [Finding("error", "initialization", problem, "Run `airflow scale init`.")]


def check_connection(session: Session) -> list[Finding]:
    """The connection that workers use exists, and its secret can be read."""
    subject = f"connection {CONNECTION_ID}"
    found = stored_connection(session, CONNECTION_ID)
    if found is None:
        return [Finding("error", subject, "There is no such connection.", "Run `airflow scale init`.")]
    remedy = "Run `airflow scale init`, with --host where the API server's address is not the configured one."
    if found.type != CONNECTION_TYPE:
        problem = f"Its type is {found.type!r} instead of {CONNECTION_TYPE!r}."
        return [Finding("error", subject, problem, remedy)]
    if found.is_unreadable:
        problem = "Its secret can't be decrypted: [core] fernet_key is another one than when it was made."
        remedy = "Restore [core] fernet_key, or run `airflow scale rotate-secret`."
        return [Finding("error", subject, problem, remedy)]
    if not found.host or not found.secret:
        return [Finding("error", subject, "It lacks its host or its secret.", remedy)]
    variable = f"AIRFLOW_CONN_{CONNECTION_ID.upper()}"
    if variable in os.environ:
        problem = (
            f"The environment variable {variable} takes its place, and secrets that rotate don't reach it."
        )
        return [Finding("warning", subject, problem, f"Unset {variable}.")]
    return [Finding("ok", subject, f"Workers reach the API server at {found.host}.")]


def check_airflow_options() -> list[Finding]:
    """Options of Airflow itself without which Scale works wrongly or slowly."""
    from airflow.configuration import conf

    found = []
    interval = conf.getint("core", "min_serialized_dag_update_interval", fallback=30)
    if interval:
        problem = (
            f"[core] min_serialized_dag_update_interval is {interval}: Airflow drops a type's DAG that is "
            "published within so many seconds of its last one."
        )
        found.append(Finding("error", "airflow", problem, "Set it to 0 and restart Airflow."))
    if "SimpleAuthManager" in str(conf.get("core", "auth_manager", fallback="")):
        problem = "SimpleAuthManager knows no permissions of Scale's, only its four fixed roles."
        remedy = (
            "Set [core] auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager "
            "and run `airflow scale sync-perms`."
        )
        found.append(Finding("warning", "airflow", problem, remedy))
    found += [
        Finding(
            "warning",
            "airflow",
            f"[{section}] {option} is {value:g}: {why}.",
            f"Set it to {wanted}.",
        )
        for section, option, value, is_good, why, wanted in _advice(conf)
        if not is_good
    ]
    return found or [Finding("ok", "airflow", "Airflow's options are as Scale needs them.")]


def _advice(conf: Any) -> Iterable[tuple[str, str, float, bool, str, str]]:
    runs = conf.getfloat("scheduler", "max_dagruns_per_loop_to_schedule", fallback=20)
    yield (
        "scheduler",
        "max_dagruns_per_loop_to_schedule",
        runs,
        runs >= 100,
        "with many runs an urgent one waits for several loops",
        "200",
    )
    sleep = conf.getfloat("scheduler", "scheduler_idle_sleep_time", fallback=1)
    yield (
        "scheduler",
        "scheduler_idle_sleep_time",
        sleep,
        sleep <= 0.5,
        "each job waits that long before it starts",
        "0.1",
    )
    failed = conf.getfloat("workers", "max_failed_heartbeats", fallback=3)
    yield (
        "workers",
        "max_failed_heartbeats",
        failed,
        failed >= 10,
        "running jobs are killed when the API server is away for a minute",
        "60 or more",
    )


def check_bundle() -> list[Finding]:
    """Airflow knows the bundle of generated DAG files, and the files can be written."""
    try:
        bundle = configured_bundle()
    except InstallationError as error:
        return [Finding("error", "dag bundle", error.problem, error.remedy)]
    problem = _not_writable(bundle.path)
    if problem:
        remedy = "Make it writable for Airflow's user, or set [scale] dags_dir."
        return [Finding("error", "dag bundle", problem, remedy)]
    return [Finding("ok", "dag bundle", f"Generated DAG files are kept in {bundle.path}.")]


def check_directories(current: Settings) -> list[Finding]:
    """The scratch folder can be written, and the allowed roots exist."""
    found = []
    problem = _not_writable(current.work_dir)
    if problem:
        remedy = "Make it writable for the worker's user, or set [scale] work_dir."
        found.append(Finding("error", "work_dir", problem, remedy))
    else:
        found.append(Finding("ok", "work_dir", f"Jobs work in {current.work_dir}."))
    if not current.allowed_roots:
        problem = "[scale] allowed_roots is empty, so no workspace and no Strike directory can be used."
        remedy = "Set it to the directories below which they lie, separated by colons."
        found.append(Finding("error", "allowed_roots", problem, remedy))
    for root in current.allowed_roots:
        if not root.is_absolute():
            problem = f"{root} is not an absolute path."
            found.append(Finding("error", "allowed_roots", problem, "Write the whole path."))
        elif not root.is_dir():
            remedy = "Make or mount it, or take it out of [scale] allowed_roots."
            found.append(Finding("warning", "allowed_roots", f"{root} is not there on this host.", remedy))
        else:
            found.append(Finding("ok", "allowed_roots", f"{root} is there."))
    remedy = "Mount it, or correct [scale] mounts."
    found += [
        Finding("warning", "mounts", f"{path}, which stands for {mount}, is not there on this host.", remedy)
        for mount, path in sorted(current.mounts.items())
        if not Path(path).is_dir()
    ]
    return found


def _not_writable(directory: Path) -> str | None:
    """Return why files can't be written below a directory, which may yet have to be made."""
    nearest = directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return f"{nearest} is not a directory."
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} can't be written by this user."
    return None


def check_storage(session: Session, current: Settings) -> list[Finding]:
    """Each active workspace's and Strike process's directory is there, and allowed."""
    return check_places(places_of(session), current)


def check_processes(session: Session) -> list[Finding]:
    """Airflow's processes, Scale's tick and at least one node agent are alive."""
    found = []
    commands = {"scheduler": "scheduler", "triggerer": "triggerer", "dag_processor": "dag-processor"}
    for component, health in component_health(session).items():
        if health.is_alive:
            found.append(Finding("ok", component, f"It is alive on {health.hostname}."))
        else:
            remedy = f"Start `airflow {commands[component]}`."
            found.append(Finding("warning", component, "It has no recent heartbeat.", remedy))
    scheduler = session.get(Scheduler, 1)
    if scheduler is None or scheduler.last_tick is None or utcnow() - scheduler.last_tick > _SILENCE:
        problem = "Nothing has looked at Scale's queue within the last minute."
        found.append(Finding("warning", "tick", problem, "Start `airflow api-server`, which runs the tick."))
    else:
        found.append(Finding("ok", "tick", "The queue is looked at."))
    if scheduler is not None and scheduler.is_paused:
        problem = "Scale's scheduler is paused: no job starts."
        found.append(Finding("warning", "tick", problem, "PATCH /scheduler/ with is_paused false."))
    beating = session.scalar(
        select(func.count())
        .select_from(Node)
        .where(Node.is_active, Node.stopped.is_(None), Node.last_offer > utcnow() - _SILENCE)
    )
    if beating:
        found.append(Finding("ok", "nodes", f"{beating} node agent{'s' * (beating != 1)} beat."))
    else:
        problem = "No node agent has been heard of within the last minute, so no job can start."
        found.append(Finding("warning", "nodes", problem, "Start `airflow scale node` on each worker host."))
    return found


def check_files(session: Session) -> list[Finding]:
    """Files are moved and removed as was decided."""
    stuck = file_duties.stuck(session, utcnow() - _SILENCE)
    if not stuck:
        return [Finding("ok", "files", "Nothing that is to be moved or removed waits in vain.")]
    first = stuck[0]
    problem = f"{len(stuck)} paths can't be moved or removed, the first is {first.path}: {first.message}"
    return [Finding("warning", "files", problem, "Mount its workspace where a node agent runs, writable.")]


def check_repairs(session: Session) -> list[Finding]:
    """What was put right between Airflow and Scale in the last day; the latest of it."""
    lines = repairs.summary(session, since=utcnow() - _DAY)
    return [Finding("ok", subject, line) for subject, line in lines]


def check_clock(session: Session) -> list[Finding]:
    """This host's clock agrees with the database's."""
    before = utcnow()
    there = session.execute(select(func.clock_timestamp())).scalar_one()
    here = before + (utcnow() - before) / 2
    skew = abs(there - here)
    seconds = f"{skew.total_seconds():.1f} s"
    if skew < _SKEW_WARNING:
        return [Finding("ok", "clock", f"This host and the database differ by {seconds}.")]
    problem = f"This host's clock and the database's differ by {seconds}; beats and timeouts go wrong."
    level: Level = "error" if skew >= _SKEW_ERROR else "warning"
    return [Finding(level, "clock", problem, "Keep both in time, with NTP for instance.")]


def check_backend(current: Settings, session: Session | None = None) -> list[Finding]:
    """What runs jobs on this host is there.

    :param session: to see whether any job type needs an engine; without it one is taken to be needed.
    """
    if current.backend == "process":
        if current.allow_process_jobs:
            return [Finding("ok", "backend", "Jobs run as processes of the worker: trusted algorithms only.")]
        problem = "[scale] backend is process, but allow_process_jobs is off: no job can run."
        return [Finding("error", "backend", problem, "Set [scale] allow_process_jobs = True.")]
    try:
        version = _engine_version(current.docker_url)
    except (OSError, ValueError, RuntimeError) as error:
        problem = f"No Docker engine answers on this host: {_first_line(error)}"
        remedy = (
            "Start one, set [scale] docker_url or DOCKER_HOST to it; or set [scale] backend = process with "
            "allow_process_jobs = True for trusted algorithms. A host without workers needs none."
        )
        level: Level = "warning" if session is not None and not _uses_docker(session) else "error"
        return [Finding(level, "backend", problem, remedy)]
    return [Finding("ok", "backend", f"Docker engine {version} answers.")]


def _has_secrets_backend() -> bool:
    from airflow.configuration import conf

    return bool(conf.get("secrets", "backend", fallback=""))


def _uses_docker(session: Session) -> bool:
    wanted = (
        select(JobType.id)
        .where(JobType.uses_docker, JobType.is_system.is_(False), ~runs_elsewhere())
        .limit(1)
    )
    return session.scalar(wanted) is not None


def _engine_version(docker_url: str) -> str:
    """Ask the engine for its version.

    :raises RuntimeError: if it can't be reached, or refuses.
    """
    from docker.errors import DockerException

    from scale_airflow.execution.backends.docker import connect

    try:
        client = connect(docker_url)
        try:
            return str(client.version()["Version"])
        finally:
            client.close()
    except DockerException as error:
        raise RuntimeError(str(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
