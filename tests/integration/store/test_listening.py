# SPDX-License-Identifier: Apache-2.0
"""One process at a time holds the lock; it hears what transactions say, and that its connection is gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from scale_airflow.store.listening import Listener

KEY = 0x7363616C65 + 1
LONG = 600.0


@pytest.fixture
def bell() -> Iterator[socket.socket]:
    """A socket that rings when the test closes the other end."""
    ours, other = socket.socketpair()
    with ours, other:
        yield ours


def test_the_lock_is_held_by_one_and_free_when_it_closes(database: str) -> None:
    with Listener("one") as one, Listener("other") as other:
        assert one.try_lock(KEY)
        assert not other.try_lock(KEY)
    with Listener("next") as following:
        assert following.try_lock(KEY)


def test_a_notification_ends_the_wait(session: Session, bell: socket.socket) -> None:
    with Listener("one") as one:
        one.listen("a channel's name")
        session.execute(text("SELECT pg_notify('a channel''s name', '')"))
        session.commit()
        began = time.monotonic()
        one.wait(LONG, bell)
        assert time.monotonic() - began < LONG
        one.wait(0.0, bell)


def test_the_bell_ends_the_wait(database: str) -> None:
    ours, other = socket.socketpair()
    with ours, other, Listener("one") as one:
        other.send(b"!")
        began = time.monotonic()
        one.wait(LONG, ours)
        assert time.monotonic() - began < LONG


def test_a_lost_connection_is_noticed(session: Session, bell: socket.socket) -> None:
    with Listener("lost") as one:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lost'"
        assert session.execute(text(query)).scalars().all() == [True]
        with pytest.raises(psycopg2.Error):
            one.wait(LONG, bell)
