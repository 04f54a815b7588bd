# SPDX-License-Identifier: Apache-2.0
"""Strike processes: made, edited and switched (specification: Strike Services).

A Strike process is a DAG without an end: its sensor watches, its operator ingests, then it begins anew. Its
configuration is read by every look, so an edit needs no new DAG.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import strike_dag_file
from scale_airflow.config import settings
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.job_data import WorkspaceFacts
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.definitions.strike_document import StrikeDocument
from scale_airflow.engine import publishing
from scale_airflow.errors import DocumentWarning, InvalidDocument, WorkspaceError
from scale_airflow.services import system_jobs
from scale_airflow.services.events import record_event
from scale_airflow.services.lookup import by_id, lock_name
from scale_airflow.store.models import Strike, Workspace, utcnow
from scale_airflow.workspaces.mounts import local_directory, resolve

_KIND = "strike"


def get_strike(session: Session, strike_id: int) -> Strike:
    """Return a Strike process.

    :raises NotFound: if there is none with this id.
    """
    return by_id(session, Strike, strike_id, "Strike process")


def lock_strike(session: Session, strike_id: int) -> None:
    """Wait until no other transaction works on this Strike process or makes it; hold it to this one's end."""
    lock_name(session, "strike process", str(strike_id))


def create_strike(session: Session, document: object) -> Strike:
    """Make a Strike process: its row, its job (scale-strike, RUNNING), and its DAG, which starts at once.

    :param document: name, title, description, configuration (specification: Create Strike Process).
    :raises InvalidDocument: with every fault; also if the name exists, or another one watches the directory.
    :raises EngineError: if Airflow does not take the DAG.
    """
    parsed = StrikeDocument.parse(document)
    lock_name(session, "strike", parsed.name)
    assert parsed.configuration is not None
    exists = _find(session, parsed.name) is not None
    faults = _faults_of(session, parsed.configuration, parsed.name)
    if exists:
        faults.add("/name", "strike.exists", f"There is a Strike process {quote(parsed.name)} already.")
    faults.refuse(_KIND, document)
    return _create(session, parsed)


def edit_strike(session: Session, strike_id: int, document: object) -> Strike:
    """Change a Strike process, or switch it off or on; it goes on as it is to be now at once.

    :raises NotFound: if there is none with this id.
    :raises InvalidDocument: with every fault.
    """
    strike = by_id(session, Strike, strike_id, "Strike process", lock=True)
    _change(session, strike, StrikeDocument.parse_changes(document))
    return strike


def ensure_strike(
    session: Session,
    *,
    name: str,
    title: str | None = None,
    description: str | None = None,
    configuration: Mapping[str, Any],
    is_active: bool | None = None,
) -> tuple[Strike, bool]:
    """Make the Strike process that a set-up document describes, or make the existing one like it.

    :returns: the Strike process, and whether it was made.
    :raises InvalidDocument: with every fault.
    """
    given: dict[str, Any] = {"name": name, "title": title, "description": description}
    given["configuration"] = dict(configuration)
    if is_active is not None:
        given["is_active"] = is_active
    parsed = StrikeDocument.parse(given)
    lock_name(session, "strike", name)
    existing = _find(session, name)
    if existing is None:
        assert parsed.configuration is not None
        _check(session, parsed.configuration, name)
        return _create(session, parsed), True
    _change(session, existing, parsed)
    return existing, False


def validate_strike(session: Session, document: object) -> list[DocumentWarning]:
    """Check a document for a Strike process that may exist already; nothing is kept.

    A directory that is not there, or not allowed, on this host is a warning: it may be on the workers.

    :raises InvalidDocument: with every fault.
    """
    parsed = StrikeDocument.parse(document)
    assert parsed.configuration is not None
    _check(session, parsed.configuration, parsed.name)
    current = settings()
    try:
        resolve(local_directory(parsed.configuration.mount, current.mounts), current.allowed_roots)
    except WorkspaceError as error:
        return [DocumentWarning("directory", str(error))]
    return []


def switch_strike(session: Session, strike_id: int, *, is_active: bool) -> Strike:
    """Switch a Strike process off (its directory is left alone) or on again.

    :raises NotFound: if there is none with this id.
    :raises InvalidDocument: if another one watches its directory by now.
    """
    strike = by_id(session, Strike, strike_id, "Strike process", lock=True)
    _switch(session, strike, is_active=is_active)
    return strike


def _switch(session: Session, strike: Strike, *, is_active: bool) -> None:
    if strike.is_active == is_active:
        return
    if is_active:
        _check(session, StrikeConfiguration.parse(strike.configuration), strike.name)
    strike.is_active = is_active
    if strike.job is not None:
        if is_active:
            system_jobs.start_execution(session, strike.job)
        else:
            execution = system_jobs.running_execution(session, strike.job)
            system_jobs.end_job(
                session, strike.job, execution, "CANCELED", message="The Strike process was switched off."
            )
    session.flush()


def directory_of(strike: Strike) -> PurePath:
    """Return where the workers have the watched directory, as this host's configuration says."""
    return local_directory(StrikeConfiguration.parse(strike.configuration).mount, settings().mounts)


def version_of(strike: Strike) -> str:
    """Return a text that changes with each edit of a Strike process."""
    return strike.last_modified.isoformat()


def _find(session: Session, name: str) -> Strike | None:
    return session.scalar(select(Strike).where(Strike.name == name).with_for_update(of=Strike))


def _create(session: Session, parsed: StrikeDocument) -> Strike:
    assert parsed.configuration is not None
    strike = Strike(
        name=parsed.name,
        configuration=dict(parsed.configuration.document),
        dag_id=names.strike_dag_id(parsed.name),
        **parsed.values,
    )
    session.add(strike)
    session.flush()
    # The DAG starts before this transaction ends: its sensor waits for the row at this lock.
    lock_strike(session, strike.id)
    description = {"version": "1.0", "strike_id": strike.id, "strike_name": strike.name}
    job, _ = system_jobs.start_job(
        session,
        system_jobs.STRIKE,
        event=record_event(session, "STRIKE_CREATED", description),
        data={"version": "1.0", "input_data": [{"name": "Strike ID", "value": str(strike.id)}]},
        dag_id=strike.dag_id,
        task_id=names.WATCH_TASK_ID,
    )
    strike.job_id = job.id
    session.flush()
    if parsed.is_active is False:
        _switch(session, strike, is_active=False)
    publishing.publish(strike_dag_file(strike.name, strike.id, strike.title))
    return strike


def _change(session: Session, strike: Strike, parsed: StrikeDocument) -> None:
    wanted: dict[str, Any] = dict(parsed.values)
    if parsed.configuration is not None:
        _check(session, parsed.configuration, strike.name)
        wanted["configuration"] = dict(parsed.configuration.document)
    changed = {name: value for name, value in wanted.items() if getattr(strike, name) != value}
    for name, value in changed.items():
        setattr(strike, name, value)
    if changed:
        strike.last_modified = utcnow()
        session.flush()
    if parsed.is_active is not None:
        _switch(session, strike, is_active=parsed.is_active)
    # Also where nothing changed: applying a set-up again mends a DAG that got lost.
    publishing.publish(strike_dag_file(strike.name, strike.id, strike.title))


def _check(session: Session, configuration: StrikeConfiguration, name: str) -> None:
    """Check a configuration against the workspaces and the other Strike processes.

    :raises InvalidDocument: with every fault.
    """
    found = _faults_of(session, configuration, name)
    found.refuse(_KIND, {"configuration": configuration.document})


def _faults_of(session: Session, configuration: StrikeConfiguration, name: str) -> Faults:
    faults = Faults()
    workspaces = session.execute(select(Workspace.id, Workspace.name, Workspace.is_active))
    try:
        configuration.check({row.name: WorkspaceFacts(row.id, row.name, row.is_active) for row in workspaces})
    except InvalidDocument as error:
        faults.extend(error.faults, "/configuration")
    lock_name(session, "strike directories")
    directory = local_directory(configuration.mount, settings().mounts)
    for other in session.scalars(select(Strike).where(Strike.is_active, Strike.name != name)):
        if directory_of(other) == directory:
            faults.add(
                "/configuration/mount",
                "strike.directory-watched",
                f"The Strike process {quote(other.name)} watches the directory {directory} already.",
            )
    return faults
