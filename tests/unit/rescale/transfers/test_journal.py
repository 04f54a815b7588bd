# SPDX-License-Identifier: Apache-2.0
"""The journal: what counts after a killed process, and what after a crash of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scale_airflow.rescale.transfers import journal as module
from scale_airflow.rescale.transfers.journal import Identity, Journal

IDENTITY = Identity("abc", 1000, "sha512 00")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    made = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield made
    os.close(made)


def begun(fd: int) -> Journal:
    journal = Journal(fd, IDENTITY)
    assert journal.load() == []
    journal.begin([(0, 10)], None)
    journal.note(10, 20)
    journal.note(50, 60)
    return journal


def test_all_that_was_noted_counts_after_a_kill(fd: int) -> None:
    begun(fd)
    again = Journal(fd, IDENTITY)
    assert again.load() == [(0, 20), (50, 60)]
    assert again.is_current


def test_after_a_crash_of_the_machine_only_what_was_synced_counts(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(fd)
    journal.synced(2)
    journal.note(80, 90)
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    again = Journal(fd, IDENTITY)
    assert again.load() == [(0, 20)]
    assert not again.is_current


def test_a_sync_vouches_for_nothing_that_was_noted_while_it_ran(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(fd)
    before = journal.noted
    journal.note(100, 200)
    journal.synced(before)
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    assert Journal(fd, IDENTITY).load() == [(0, 20), (50, 60)]


def test_where_no_boot_can_be_told_only_what_was_synced_counts(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "boot_id", lambda: "")
    begun(fd)
    assert Journal(fd, IDENTITY).load() == [(0, 10)]


@pytest.mark.parametrize(
    "other",
    [Identity("abd", 1000, "sha512 00"), Identity("abc", 1001, "sha512 00"), Identity("abc", 1000, "md5 0")],
)
def test_the_journal_of_another_file_does_not_count(fd: int, other: Identity) -> None:
    begun(fd)
    assert Journal(fd, other).load() == []


def test_the_etag_of_the_first_answer_is_kept(fd: int) -> None:
    begun(fd).tag('"x y"')
    again = Journal(fd, IDENTITY)
    again.load()
    assert again.etag == '"x y"'


@pytest.mark.parametrize(
    "tail",
    [
        "70-8",
        "70-80",
        "-5-9\n",
        "9-5\n",
        "900-1001\n",
        "synced x\n",
        "synced 99999999999\n",
        'etag "\n',
        "\0\n",
        "é\n",
    ],
)
def test_what_is_cut_off_or_nonsense_does_not_count(fd: int, tail: str) -> None:
    begun(fd)
    os.write(fd, tail.encode())
    assert Journal(fd, IDENTITY).load() == [(0, 20), (50, 60)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]\n1-2\n", b"null\n", b"\xff\xfe\n", b'{"file": "abc"}\n1-2\n']
)
def test_garbage_is_no_journal(fd: int, content: bytes) -> None:
    os.write(fd, content)
    assert Journal(fd, IDENTITY).load() == []
