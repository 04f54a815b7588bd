# SPDX-License-Identifier: Apache-2.0
"""Errors that exit codes map to (specification: Error Services)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.definitions.error_document import ErrorDocument
from scale_airflow.definitions.faults import quote
from scale_airflow.errors import Fault, InvalidDocument, InvalidRequest
from scale_airflow.services.lookup import by_id, lock_name
from scale_airflow.services.stored import Stored, outcome_of
from scale_airflow.store.models import ErrorModel


def get_error(session: Session, error_id: int) -> ErrorModel:
    """Return an error.

    :raises NotFound: if there is none with this id.
    """
    return by_id(session, ErrorModel, error_id, "error")


def find_error(session: Session, name: str) -> ErrorModel | None:
    """Return the error with this name, if there is one."""
    return session.scalar(select(ErrorModel).where(ErrorModel.name == name))


def error_names(session: Session) -> set[str]:
    """Return the names of all errors."""
    return set(session.scalars(select(ErrorModel.name)))


def create_error(session: Session, document: object) -> ErrorModel:
    """Make an error from the document of ``POST /errors/``.

    :raises InvalidDocument: with every fault; also if the name exists.
    """
    parsed = ErrorDocument.parse(document)
    lock_name(session, "error", parsed.name)
    if find_error(session, parsed.name) is not None:
        message = f"There is an error {quote(parsed.name)} already."
        raise InvalidDocument("error", [Fault("/name", message, "error.exists")])
    return put_error(session, parsed, None).row


def edit_error(session: Session, error_id: int, document: object) -> ErrorModel:
    """Change title, description or category of an error.

    :raises NotFound: if there is none with this id.
    :raises InvalidDocument: with every fault.
    :raises InvalidRequest: if it is one of the system's own.
    """
    error = by_id(session, ErrorModel, error_id, "error", lock=True)
    refuse_system_error(error)
    return put_error(session, ErrorDocument.parse_changes(document), error).row


def put_error(session: Session, document: ErrorDocument, existing: ErrorModel | None) -> Stored[ErrorModel]:
    """Make an error, or change ``existing`` to what the document says."""
    if existing is None:
        error = ErrorModel(name=document.name, **document.values)
        session.add(error)
        session.flush()
        return Stored(error, "created")
    changed = {name: value for name, value in document.values.items() if getattr(existing, name) != value}
    for name, value in changed.items():
        setattr(existing, name, value)
    session.flush()
    return Stored(existing, outcome_of(is_new=False, has_changed=bool(changed)))


def refuse_system_error(error: ErrorModel | None) -> None:
    """Refuse a change of one of the system's own errors.

    :raises InvalidRequest: if it is one.
    """
    if error is not None and error.category == "SYSTEM":
        raise InvalidRequest(f"The error {error.name} belongs to the system and can't be edited.")
