# SPDX-License-Identifier: Apache-2.0
"""Errors: made, changed, kept apart from the system's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scale_airflow.errors import InvalidDocument, InvalidRequest, NotFound
from scale_airflow.services import errors, installation

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

BAD_DATA = {"name": "bad-data", "title": "Bad Data", "description": "Bad data detected", "category": "DATA"}


def test_create_and_edit(session: Session) -> None:
    made = errors.create_error(session, BAD_DATA)
    assert errors.get_error(session, made.id) is made
    first = made.last_modified

    edited = errors.edit_error(session, made.id, {"title": "Worse", "category": "ALGORITHM"})
    session.expire_all()
    assert (edited.title, edited.description, edited.category) == ("Worse", "Bad data detected", "ALGORITHM")
    assert edited.last_modified > first


def test_name_exists(session: Session) -> None:
    errors.create_error(session, BAD_DATA)
    with pytest.raises(InvalidDocument) as caught:
        errors.create_error(session, BAD_DATA)
    assert [fault.path for fault in caught.value.faults] == ["/name"]


def test_all_faults_at_once(session: Session) -> None:
    with pytest.raises(InvalidDocument) as caught:
        errors.create_error(session, {"name": 3, "category": "SYSTEM", "titel": "x"})
    assert {fault.path for fault in caught.value.faults} >= {"", "/name", "/category", "/titel"}


def test_system_errors_stay(session: Session) -> None:
    installation.initialize(session)
    unknown = errors.find_error(session, "unknown")
    assert unknown is not None
    with pytest.raises(InvalidRequest, match="system"):
        errors.edit_error(session, unknown.id, {"title": "Mine"})
    mine = errors.create_error(session, BAD_DATA)
    with pytest.raises(InvalidDocument, match="reserved"):
        errors.edit_error(session, mine.id, {"category": "SYSTEM"})


@pytest.mark.parametrize("number", [0, -1, 5, 2**63 - 1, 2**63, 10**30])
def test_no_such_error(session: Session, number: int) -> None:
    with pytest.raises(NotFound):
        errors.get_error(session, number)
    with pytest.raises(NotFound):
        errors.edit_error(session, number, {})
