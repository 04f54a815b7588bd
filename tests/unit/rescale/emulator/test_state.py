# SPDX-License-Identifier: Apache-2.0
"""What the emulator writes down is there again after its process was killed."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from scale_airflow.rescale.emulator import state as state_module
from scale_airflow.rescale.emulator.journal import Journal, RootInUseError
from scale_airflow.rescale.emulator.records import CLUSTER, JOB, FileRecord, JobRecord, LifeRecord, RunRecord
from scale_airflow.rescale.emulator.state import State

NOW = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=timezone.utc)


def job(number: int = 1) -> JobRecord:
    return JobRecord(id="aBcDeF", owner="a@b.c", document={"name": "x"}, inserted=NOW, number=number)


def output(file_id: str, run_id: str = "1") -> FileRecord:
    return FileRecord(
        id=file_id,
        name="x",
        relative_path="d/x",
        type_id=5,
        size=3,
        uploaded=NOW,
        owner="a@b.c",
        blob="b",
        number=2,
        job_id="aBcDeF",
        run_id=run_id,
    )


def killed(root: Path, state: State) -> State:
    """Open the directory again as after a kill: without a snapshot, the lock gone."""
    state._journal.close()
    return State(root)


def test_every_record_is_there_again(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.put(job(), RunRecord(job_id="aBcDeF", id="1", started=NOW), LifeRecord("aBcDeF", {"pid": 7}))
    state.put(output("F1"), output("F2", "2"))
    state.add_status(JOB, "aBcDeF", "Pending", NOW)
    state.add_status(CLUSTER, "aBcDeF", "Starting", NOW, "why")
    state.change_job("aBcDeF", paid_runs=1)
    again = killed(tmp_path, state)
    assert again.jobs == {"aBcDeF": JobRecord(**{**vars(job()), "paid_runs": 1})}
    assert again.runs("aBcDeF") == [RunRecord(job_id="aBcDeF", id="1", started=NOW)]
    assert again.lives["aBcDeF"].data == {"pid": 7}
    assert [one.id for one in again.output_files("aBcDeF", "2")] == ["F2"]
    assert again.history(JOB, "aBcDeF") == state.history(JOB, "aBcDeF")
    assert again.latest(CLUSTER, "aBcDeF") == "Starting"
    assert again.next_number() == state.next_number()
    again.close()
    once_more = State(tmp_path)
    assert once_more.history(CLUSTER, "aBcDeF") == state.history(CLUSTER, "aBcDeF")
    once_more.close()


@pytest.mark.parametrize("tail", [b'{"put":[["job",{"id":"q', b'{"remove":[["job","aBcDeF"]]}'])
def test_a_half_written_line_never_happened(tmp_path: Path, tail: bytes) -> None:
    state = State(tmp_path)
    state.put(job())
    state._journal.close()
    (journal,) = (tmp_path / "state").glob("journal-*.jsonl")
    with journal.open("ab") as file:
        file.write(tail)
    again = State(tmp_path)
    assert list(again.jobs) == ["aBcDeF"]
    again.remove(job())
    assert list(killed(tmp_path, again).jobs) == []


def test_a_job_takes_its_histories_along(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.put(job(), RunRecord(job_id="aBcDeF", id="1"))
    state.add_status(JOB, "aBcDeF", "Pending", NOW)
    state.remove(job())
    again = killed(tmp_path, state)
    assert (again.history(JOB, "aBcDeF"), again.runs("aBcDeF"), again.lives) == ([], [], {})
    again.close()


def test_a_long_journal_becomes_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "JOURNAL_LIMIT", 4000)
    state = State(tmp_path)
    for number in range(100):
        state.add_status(JOB, "aBcDeF", f"S{number}", NOW)
    assert len(list((tmp_path / "state").glob("journal-*"))) == 1
    assert state._journal.size < 5000
    assert [one.status for one in killed(tmp_path, state).history(JOB, "aBcDeF")] == [
        f"S{number}" for number in range(100)
    ]


def test_a_journal_older_than_the_snapshot_does_not_count(tmp_path: Path) -> None:
    # The kill came after the new snapshot, before the old journal was deleted.
    state = State(tmp_path)
    state.add_status(JOB, "aBcDeF", "Pending", NOW)
    (journal,) = (tmp_path / "state").glob("journal-*.jsonl")
    old = journal.read_bytes()
    state._snapshot()
    journal.write_bytes(old)
    assert len(killed(tmp_path, state).history(JOB, "aBcDeF")) == 1


def test_one_emulator_a_directory(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(RootInUseError, match="Another emulator works in"):
        State(tmp_path)
    state.close()


async def test_durable_returns_when_synced(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.put(job())
    await state.durable()
    assert state._journal.synced == state._journal.appended == 1
    state.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "state")
    journal.load()
    journal.append({"n": 1})
    real = __import__("os").write
    calls = iter([7])

    def write(file: int, data: bytes) -> int:
        for count in calls:
            return int(real(file, data[:count]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scale_airflow.rescale.emulator.journal.os.write", write)
    with pytest.raises(OSError, match="No space left"):
        journal.append({"n": 2})
    monkeypatch.undo()
    journal.append({"n": 3})
    journal.close()
    (path,) = (tmp_path / "state").glob("journal-*.jsonl")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"n": 1}, {"n": 3}]
