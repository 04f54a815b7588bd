# SPDX-License-Identifier: Apache-2.0
"""The way of files from a Strike directory into a workspace, killed and disturbed anywhere."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timezone
from typing import BinaryIO

import pytest
from sqlalchemy import select, text
from strike_world import SUFFIX, Killed, StrikeWorld, all_files

from scale_airflow.errors import ScaleApiError, WorkspaceError
from scale_airflow.execution.ingest.directory import StrikeDirectory
from scale_airflow.execution.ingest.messages import BatchRequest, FinishRequest
from scale_airflow.services.ingest_results import source_uuid
from scale_airflow.store.models import Job, JobExecution, ScaleFile, Strike, TriggerEvent


def test_a_file_comes_into_its_workspace(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "content")
    found = inbox.look()
    assert (found.due, found.is_active, found.directory) == (1, True, inbox.root)
    assert [path.name for path in inbox.files("ingesting")] == ["a.h5"]
    (row,) = inbox.ingests()
    assert row.status == "QUEUED"
    assert row.transfer_path == str(inbox.root / "a.h5")
    assert row.ingest_path == str(inbox.root / "ingesting" / "a.h5")
    assert inbox.ingest().ingested == 1
    inbox.check()
    (row,) = inbox.ingests()
    source = row.source_file
    assert source is not None
    day = datetime.now(timezone.utc)
    assert source.file_path == f"scenes/{day:%Y/%m/%d}/a.h5" == row.file_path
    assert all_files(inbox.workspace) == [source.file_path]
    assert (source.media_type, source.data_type) == ("image/x-hdf5-image", ["scene"])
    assert source.uuid == source_uuid(source.workspace.name, source.file_path)
    assert row.transfer_started is not None
    assert row.ingest_ended is not None
    assert row.transfer_started <= row.transfer_ended <= row.ingest_started <= row.ingest_ended  # type: ignore[operator]


def test_a_batch_is_one_job_with_its_event(inbox: StrikeWorld) -> None:
    for number in range(3):
        inbox.drop(f"{number}.h5", f"content {number}")
    inbox.look()
    task = inbox.task("ingest")
    inbox.ingest(task)
    session = inbox.world.session
    event = session.scalars(select(TriggerEvent).where(TriggerEvent.type == "STRIKE_TRANSFER")).one()
    assert event.description["strike_id"] == inbox.strike_id
    assert sorted(event.description["file_names"]) == ["0.h5", "1.h5", "2.h5"]
    job = session.scalars(select(Job).where(Job.event_id == event.id)).one()
    execution = session.scalars(select(JobExecution).where(JobExecution.job_id == job.id)).one()
    assert (job.status, job.job_type.name, execution.status) == ("COMPLETED", "scale-ingest", "COMPLETED")
    assert str(execution.task_instance_id) == task.task_instance_id
    assert {row.job_id for row in inbox.ingests()} == {job.id}


def test_a_transfer_is_followed_to_its_end(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "12", suffix=SUFFIX)
    found = inbox.look()
    assert found.due == 0
    (row,) = inbox.ingests()
    assert (row.file_name, row.status, row.bytes_transferred) == ("a.h5", "TRANSFERRING", 2)
    (inbox.root / f"a.h5{SUFFIX}").write_text("1234")
    again = inbox.look()
    assert again.digest == found.digest
    assert inbox.ingests()[0].bytes_transferred == 4
    inbox.end_transfer("a.h5")
    inbox.settle()
    inbox.check()
    assert inbox.statuses() == {"INGESTED": 1}


def test_a_transfer_that_vanishes_is_an_error(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "12", suffix=SUFFIX)
    inbox.look()
    (inbox.root / f"a.h5{SUFFIX}").unlink()
    inbox.look()
    (row,) = inbox.ingests()
    assert (row.status, row.message) == ("ERRORED", "The file vanished while it was being transferred.")
    inbox.drop("a.h5", "12")
    inbox.settle()
    assert inbox.statuses() == {"ERRORED": 1, "INGESTED": 1}


def test_what_no_rule_matches_is_deferred_with_the_reason(inbox: StrikeWorld) -> None:
    for _ in range(3):
        inbox.drop("notes.txt", "content")
        assert inbox.look().due == 0
    assert len(inbox.files("deferred")) == 3
    assert inbox.files() == []
    rows = inbox.ingests()
    assert {row.status for row in rows} == {"DEFERRED"}
    assert "No rule" in (rows[0].message or "")
    assert len({row.ingest_path for row in rows}) == 3
    inbox.check()


def test_the_first_matching_rule_counts(inbox: StrikeWorld) -> None:
    with inbox.world.session.begin_nested():
        strike = inbox.world.session.get_one(Strike, inbox.strike_id)
        rules = [
            {
                "filename_regex": "a",
                "workspace_path": "first",
                "workspace_name": "products",
                "data_types": ["one"],
            },
            {"filename_regex": ".*", "workspace_path": "", "workspace_name": "raw"},
        ]
        strike.configuration = {**strike.configuration, "files_to_ingest": rules}
    inbox.world.session.commit()
    inbox.drop("a.h5", "content of a")
    inbox.drop("b.h5", "content of b")
    inbox.settle()
    first, second = inbox.ingests()
    day = f"{datetime.now(timezone.utc):%Y/%m/%d}"
    assert (first.workspace.name, first.file_path, first.data_type) == (  # type: ignore[union-attr]
        "products",
        f"first/{day}/a.h5",
        ["one"],
    )
    assert (second.workspace.name, second.file_path) == ("raw", f"{day}/b.h5")  # type: ignore[union-attr]


def test_the_same_file_again_is_a_duplicate(inbox: StrikeWorld) -> None:
    for _ in range(3):
        inbox.drop("a.h5", "content")
        inbox.settle()
    inbox.check()
    assert inbox.statuses() == {"INGESTED": 1, "DUPLICATE": 2}
    assert len(inbox.files("duplicate")) == 2


def test_other_content_of_the_same_name_is_stored_beside_it(inbox: StrikeWorld) -> None:
    for content in ("one", "two", "three"):
        inbox.drop("a.h5", content)
        inbox.look()  # the next one comes while this one is on its way
    assert len(inbox.files("ingesting")) == 3
    inbox.settle()
    inbox.check()
    paths = [row.file_path or "" for row in inbox.ingests()]
    checksums = [row.checksum or "" for row in inbox.ingests()]
    assert paths[0].split("/")[-2].isdigit()
    assert [path.split("/")[-2] for path in paths[1:]] == [checksum[:8] for checksum in checksums[1:]]


def test_two_copies_in_one_batch_make_one_source_and_one_duplicate(inbox: StrikeWorld) -> None:
    for _ in range(2):
        inbox.drop("a.h5", "content")
        inbox.look()
    inbox.settle()
    inbox.check()
    assert inbox.statuses() == {"INGESTED": 1, "DUPLICATE": 1}


def test_the_same_name_comes_and_goes_while_its_transfer_waits(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "first")
    inbox.drop("a.h5", "second", suffix=SUFFIX)
    inbox.look()
    inbox.look()
    assert inbox.statuses() == {"QUEUED": 1, "TRANSFERRING": 1}
    inbox.end_transfer("a.h5")
    inbox.settle()
    inbox.check()


def test_names_that_can_t_be_stored_are_deferred_and_shown_safely(inbox: StrikeWorld) -> None:
    for raw in (b"new\nline.h5", b"latin\xe4.h5", b"bell\x07.h5"):
        (inbox.root / os.fsdecode(raw)).write_text("content")
    assert inbox.look().due == 0
    rows = inbox.ingests()
    assert [row.status for row in rows] == ["DEFERRED"] * 3
    assert {row.file_name for row in rows} == {
        "new\ufffd0Aline.h5",
        "latin\ufffdE4.h5",
        "bell\ufffd07.h5",
    }
    assert len(inbox.files("deferred")) == 3
    assert "control character" in (next(row for row in rows if "0A" in row.file_name).message or "")


def test_times_from_the_future_or_the_past_make_no_nonsense(inbox: StrikeWorld) -> None:
    for name, moment in (("future.h5", 2**40), ("past.h5", -(2**31)), ("zero.h5", 0)):
        inbox.drop(name, name)
        os.utime(inbox.root / name, (moment, moment))
    inbox.settle()
    inbox.check()
    for row in inbox.ingests():
        assert row.transfer_started is not None
        assert row.transfer_ended is not None
        assert row.transfer_started <= row.transfer_ended <= row.created


def test_a_file_that_can_t_be_moved_stays_and_is_tried_again(
    inbox: StrikeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scale_airflow.execution.ingest import directory

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    inbox.drop("a.h5", "content")
    with monkeypatch.context() as patched:
        patched.setattr(directory, "rename_without_replacing", refuse)
        first, second = inbox.look(), inbox.look()
    assert first.digest == second.digest
    assert second.due == 0
    assert 0 < (second.retry_after or 0) <= 60
    (row,) = inbox.ingests()
    assert row.status == "TRANSFERRED"
    assert row.message == "It can't be moved to ingesting/a.h5: Permission denied."
    inbox.settle()
    inbox.check()


def test_what_somebody_put_into_ingesting_is_not_lost(inbox: StrikeWorld) -> None:
    inbox.look()
    (inbox.root / "ingesting" / "a.h5").write_text("content")
    inbox.user_drops[("a.h5", "content")] += 1
    inbox.drop("a.h5", "other")
    inbox.settle()
    inbox.check()


def test_a_workspace_that_is_away_makes_files_wait(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "content")
    inbox.look()
    inbox.workspace.rename(inbox.workspace.with_name("away"))
    summary = inbox.ingest()
    assert summary.postponed == 1
    assert "is not there" in (summary.problem or "")
    (row,) = inbox.ingests()
    assert (row.status, row.tries) == ("QUEUED", 0)
    job = inbox.world.session.get_one(Job, row.job_id)
    assert (job.status, job.error.name if job.error else None) == ("FAILED", "filesystem-io")
    inbox.workspace.with_name("away").rename(inbox.workspace)
    inbox.let_time_pass()
    inbox.settle()
    inbox.check()


def test_a_workspace_that_is_not_active_makes_files_wait(inbox: StrikeWorld) -> None:
    session = inbox.world.session
    inbox.drop("a.h5", "content")
    inbox.look()
    inbox.world.workspace("raw").is_active = False
    session.commit()
    inbox.ingest()
    assert [(row.status, row.message) for row in inbox.ingests()] == [
        ("QUEUED", "Its workspace is not active.")
    ]
    inbox.world.workspace("raw").is_active = True
    session.commit()
    inbox.let_time_pass()
    inbox.settle()
    inbox.check()


def test_a_file_that_can_t_be_read_is_tried_three_times_and_others_go_on(
    inbox: StrikeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.drop("bad.h5", "bad")
    inbox.drop("good.h5", "good")
    opened = StrikeDirectory.open

    def refuse(self: StrikeDirectory, relative: str) -> BinaryIO:
        if "bad" in relative:
            raise OSError(5, "Input/output error")
        return opened(self, relative)

    monkeypatch.setattr(StrikeDirectory, "open", refuse)
    for tries in (1, 2, 3):
        assert inbox.look().due == (2 if tries == 1 else 1)
        inbox.ingest()
        (row,) = inbox.ingests(file_name="bad.h5")
        assert (row.status, row.tries) == ("ERRORED", tries)
        assert row.message == "It can't be read: Input/output error."
        assert (row.retry_at is None) == (tries == 3)
        assert inbox.look().due == 0
        inbox.let_time_pass()
    assert inbox.look().due == 0
    assert inbox.statuses() == {"ERRORED": 1, "INGESTED": 1}
    assert [path.name for path in inbox.files("ingesting")] == ["bad.h5"]


def test_a_file_that_is_still_being_written_is_not_stored(
    inbox: StrikeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.drop("a.h5", "content")
    inbox.look()

    def write_on(point: str, number: int) -> None:
        if point == "before store":
            with (inbox.root / "ingesting" / "a.h5").open("a") as file:
                file.write(" and more")

    with inbox.points.acting(write_on):
        assert inbox.ingest().errored == 1
    assert inbox.world.session.scalars(select(ScaleFile)).all() == []
    assert "still writes to it" in (inbox.ingests()[0].message or "")
    inbox.user_drops.clear()
    inbox.user_drops[("a.h5", "content and more")] = 1
    inbox.let_time_pass()
    inbox.settle()
    inbox.check()


def test_a_path_that_another_file_has_in_the_workspace_is_left_alone(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "content")
    inbox.look()
    path = inbox.workspace / (inbox.ingests()[0].file_path or "")
    path.parent.mkdir(parents=True)
    path.write_text("nobody knows me")
    inbox.ingest()
    assert path.read_text() == "nobody knows me"
    (row,) = inbox.ingests()
    assert row.status == "INGESTED"
    assert (row.file_path or "").split("/")[-2] == (row.checksum or "")[:8]
    inbox.check()


def test_a_deleted_source_file_makes_room_for_the_next(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "content")
    inbox.settle()
    session = inbox.world.session
    source = session.scalars(select(ScaleFile)).one()
    source.is_deleted = True
    (inbox.workspace / source.file_path).unlink()
    session.commit()
    inbox.drop("a.h5", "content")
    inbox.settle()
    session.expire_all()
    assert session.scalars(select(ScaleFile)).one().is_deleted is False
    assert inbox.statuses() == {"INGESTED": 2}


def test_a_missing_directory_is_said_at_the_job_and_raised(inbox: StrikeWorld) -> None:
    inbox.root.rename(inbox.root.with_name("elsewhere"))
    with pytest.raises(WorkspaceError, match="is not there"):
        inbox.look()
    session = inbox.world.session
    strike = session.get_one(Strike, inbox.strike_id)
    assert strike.job is not None
    assert "is not there" in (strike.job.why or "")
    inbox.root.with_name("elsewhere").rename(inbox.root)
    inbox.look()
    session.expire_all()
    assert strike.job.why is None


def test_only_the_running_try_may_speak(inbox: StrikeWorld) -> None:
    old = inbox.task("watch")
    new = inbox.task("watch")
    with pytest.raises(ScaleApiError, match="does not run try") as caught:
        inbox.look(old)
    assert caught.value.status == 403
    with pytest.raises(ScaleApiError, match="does not run try"):
        inbox.ingest(new)  # a sensor takes no batches
    with pytest.raises(ScaleApiError, match="does not run try"):
        inbox.look(inbox.task("ingest"))
    inbox.look(new)


def test_a_batch_that_was_taken_over_takes_no_more_reports(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "content")
    inbox.look()
    lost = inbox.task("ingest")
    begun = threading.Event()
    go_on = threading.Event()
    outcome: list[BaseException] = []

    def hold(point: str, number: int) -> None:
        if point == "before stored" and threading.current_thread().name == "lost":
            begun.set()
            assert go_on.wait(30)

    def run() -> None:
        try:
            inbox.ingest(lost)
        except ScaleApiError as error:
            outcome.append(error)

    with inbox.points.acting(hold):
        thread = threading.Thread(target=run, name="lost")
        thread.start()
        assert begun.wait(30)
        inbox.ingest()
        go_on.set()
        thread.join(30)
    assert isinstance(outcome[0], ScaleApiError)
    inbox.check()
    session = inbox.world.session
    tries = session.scalars(
        select(JobExecution).join(Job).where(Job.task_id == "ingest").order_by(JobExecution.id)
    ).all()
    assert [(execution.status, execution.exe_num) for execution in tries] == [("FAILED", 1), ("COMPLETED", 2)]
    assert tries[0].error is not None
    assert tries[0].error.name == "mesos-lost"


def test_no_key_of_a_batch_opens_another(inbox: StrikeWorld) -> None:
    inbox.drop("a.h5", "content")
    inbox.look()
    server, task = inbox.server(), inbox.task("ingest")
    first = server.batch(BatchRequest(task))
    second = server.batch(BatchRequest(task))
    assert first.execution_id == second.execution_id is not None
    assert first.token != second.token
    with pytest.raises(ScaleApiError, match="token"):
        server.running(first.execution_id, first.token or "").finish(FinishRequest())
    assert second.token is not None
    assert second.token not in repr(second)
    server.running(second.execution_id, second.token or "").finish(FinishRequest())
    assert inbox.statuses() == {"QUEUED": 1}
    inbox.settle()
    inbox.check()


def _killed_at(inbox: StrikeWorld, number: int) -> bool:
    """Let the DAG's tasks run, killing the process at one point; tell whether it came so far."""
    before: list[int] = []

    def kill(point: str, reached: int) -> None:
        if reached == number:
            before.append(reached)
            raise Killed(point)

    with inbox.points.acting(kill):
        try:
            if inbox.look().due:
                inbox.ingest()
        except Killed:
            pass
    return bool(before)


@pytest.mark.parametrize("start", [1, 2, 3])
def test_a_kill_at_any_point_loses_and_doubles_nothing(inbox: StrikeWorld, start: int) -> None:
    """Walk through all points of the whole way, a third of them in each of the tests."""
    number = start
    while True:
        name = f"round-{number}"
        inbox.drop(f"{name}.h5", name)
        inbox.drop(f"{name}-again.h5", "same")
        inbox.drop(f"{name}.txt", name)
        inbox.drop("often.h5", f"often {number % 6}")
        came_so_far = _killed_at(inbox, number)
        inbox.drop("often.h5", "often 0")
        inbox.settle()
        inbox.check()
        if not came_so_far:
            break
        number += 3
    assert number > 40
    running = inbox.world.session.execute(
        text("SELECT count(*) FROM scale_job WHERE task_id = 'ingest' AND status <> 'COMPLETED'")
    ).scalar()
    assert running == 0


@pytest.mark.parametrize("task_id", ["watch", "ingest"])
def test_a_worker_that_comes_back_from_the_dead_harms_nothing(inbox: StrikeWorld, task_id: str) -> None:
    """Hold a task at each point, let another try do everything, drop the same name again, let it go on."""
    number = 1
    while True:
        inbox.drop("a.h5", f"content {number}")
        inbox.drop("b.txt", f"content {number}")
        if task_id == "ingest":
            inbox.look()
        if not _held_at(inbox, task_id, number):
            break
        inbox.settle()
        inbox.check()
        number += 1
    assert number > 8


def _held_at(inbox: StrikeWorld, task_id: str, number: int) -> bool:
    held, go_on = threading.Event(), threading.Event()
    errors: list[BaseException] = []
    task = inbox.task(task_id)
    mine = threading.local()

    def hold(point: str, reached: int) -> None:
        is_old = getattr(mine, "is_old", False) or "ThreadPool" in threading.current_thread().name
        if is_old and reached == number and not held.is_set():
            held.set()
            assert go_on.wait(30)

    def run() -> None:
        mine.is_old = True
        try:
            inbox.look(task) if task_id == "watch" else inbox.ingest(task)
        except ScaleApiError:
            pass
        except BaseException as error:
            errors.append(error)

    with inbox.points.acting(hold):
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive() and not held.wait(0.01):
            pass
        if held.is_set():
            inbox.settle()
            inbox.drop("a.h5", f"next {number}")
            inbox.drop("b.txt", f"next {number}")
        go_on.set()
        thread.join(30)
    assert not errors, errors
    return held.is_set()


def test_thousands_of_files_at_once(inbox: StrikeWorld) -> None:
    for number in range(2000):
        (inbox.root / f"{number}.h5").write_text(str(number))
        inbox.user_drops[(f"{number}.h5", str(number))] += 1
    assert inbox.look().due == 2000
    assert inbox.ingest().ingested == 2000
    inbox.check()


def test_two_strike_processes_meet_in_one_workspace(inbox: StrikeWorld) -> None:
    other = StrikeWorld.make(inbox.world, inbox.root.parent, "second")
    for each in (inbox, other):
        each.drop("a.h5", "same")
        each.look()
    threads = [threading.Thread(target=each.ingest) for each in (inbox, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted((inbox.statuses() + other.statuses()).items()) == [("DUPLICATE", 1), ("INGESTED", 1)]
    assert len(all_files(inbox.workspace)) == 1
