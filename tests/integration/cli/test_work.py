# SPDX-License-Identifier: Apache-2.0
"""``airflow scale cancel`` and ``airflow scale requeue``: which jobs, a question, and what became of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.cli import commands
from scale_airflow.services import cancel, requeue
from scale_airflow.services.queue import queue_job, user_event
from scale_airflow.store.models import Job


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def scale(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run ``airflow scale`` with these words, and the answer to its question; give what it wrote."""
    from airflow.cli import cli_parser

    def run(*words: object, answer: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        capsys.readouterr()
        code = 0
        try:
            arguments = cli_parser.get_parser().parse_args(["scale", *map(str, words)])
            arguments.func(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return run


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def jobs(world: World) -> list[Job]:
    """Of one type a FAILED, a RUNNING and a QUEUED job; of another, in two versions, QUEUED ones."""
    made: list[Job] = []
    for name, version, count in (("tiles", "1.0", 3), ("maps", "1.0", 1), ("maps", "2.0", 1)):
        document = {"version": version, "max_tries": 1}
        job_type = world.job_type(name, interface({}, {}), **document)
        event = user_event(world.session, "me")
        made += [queue_job(world.session, job_type=job_type, data={}, event=event) for _ in range(count)]
    world.session.commit()
    world.dispatch()
    order = world.claim(made[0]).order
    assert order is not None
    world.fail(order, error="nfs")
    world.set_task_state(made[0], "failed")
    world.claim(made[1])
    return made


def statuses(world: World, jobs: list[Job]) -> list[str]:
    return [world.reload(job).status for job in jobs]


BEFORE = ["FAILED", "RUNNING", "QUEUED", "QUEUED", "QUEUED"]


def test_the_states_are_those_of_the_services() -> None:
    assert commands.CANCELABLE == cancel.CANCELABLE
    assert commands.REQUEUEABLE == requeue.REQUEUEABLE


def test_by_ids_after_a_question(world: World, jobs: list[Job], scale: Callable[..., Outcome]) -> None:
    words = ("cancel", jobs[1].id, jobs[3].id)
    for answer in ("n\n", "\n"):
        refused = scale(*words, answer=answer)
        assert (refused.code, refused.err) == (1, "Nothing was changed.\n")
        assert "Cancel 2 jobs? [y/N]" in refused.out
    nobody = scale(*words)
    assert nobody.code == 1
    assert "say --yes" in nobody.err
    assert statuses(world, jobs) == BEFORE
    done = scale(*words, answer="y\n")
    assert done.code == 0
    assert "2 jobs were canceled." in done.out
    assert statuses(world, jobs) == ["FAILED", "CANCELED", "QUEUED", "CANCELED", "QUEUED"]


def test_a_dry_run_changes_nothing(world: World, jobs: list[Job], scale: Callable[..., Outcome]) -> None:
    shown = scale("requeue", "--status", "FAILED", "--dry-run")
    assert shown.code == 0
    assert "tiles" in shown.out
    assert "maps" not in shown.out
    assert "Nothing was changed: --dry-run." in shown.out
    shown = scale("cancel", "--job-type", "maps", "--dry-run", "-o", "json")
    assert [each["id"] for each in json.loads(shown.out)] == [jobs[3].id, jobs[4].id]
    assert statuses(world, jobs) == BEFORE


def test_by_type_version_error_and_time(world: World, jobs: list[Job], scale: Callable[..., Outcome]) -> None:
    canceled = scale("cancel", "--job-type", "maps:2.0", "--job-type", "tiles", "-y", "--status", "QUEUED")
    assert "2 jobs were canceled." in canceled.out
    assert statuses(world, jobs) == ["FAILED", "RUNNING", "CANCELED", "QUEUED", "CANCELED"]
    assert scale("requeue", "--error", "nfs", "--ended", "PT1H", "--yes").code == 1
    words = ("requeue", "--error", "nfs", "--started", "PT1H", "--priority", 7, "--yes", "-o", "json")
    done = scale(*words)
    assert json.loads(done.out) == [
        {"id": jobs[0].id, "job_type": "tiles", "version": "1.0", "before": "FAILED", "after": "QUEUED"}
    ]
    again = world.reload(jobs[0])
    assert (again.status, again.priority, again.max_tries) == ("QUEUED", 7, 2)


def test_those_in_no_state_for_it_stay(world: World, jobs: list[Job], scale: Callable[..., Outcome]) -> None:
    some = scale("requeue", *(job.id for job in jobs), answer="yes\n")
    assert "Requeue 1 job (4 more match, and stay as they are)?" in some.out
    assert "1 job was requeued. 4 jobs stay as before." in some.out
    none = scale("requeue", jobs[1].id, "--yes")
    assert (none.code, "none of the jobs is FAILED or CANCELED" in none.out) == (0, True)


REFUSED = {
    ("cancel",): "Say which jobs",
    ("cancel", "--yes"): "Say which jobs",
    ("cancel", "999", "--yes"): "No job matches.",
    ("cancel", "--job-type", "tile"): (
        '--job-type: There is no job type "tile". Known job types: "maps", "maps:1.0", "maps:2.0", "tiles", '
        '"tiles:1.0". Did you mean "tiles"?'
    ),
    ("cancel", "--job-type", "maps:3.0"): 'There is no job type "maps:3.0".',
    ("cancel", "--job-type", "scale-clock"): 'There is no job type "scale-clock".',
    ("requeue", "--error", "nsf"): 'Did you mean "nfs"?',
    ("requeue", "--started", "yesterday"): "--started: This must be an ISO-8601",
    (
        "requeue",
        "--started",
        "PT1H",
        "--ended",
        "PT2H",
    ): "--started: The start must be before the end, --ended.",
}


def test_what_is_refused(world: World, jobs: list[Job], scale: Callable[..., Outcome]) -> None:
    for words, told in REFUSED.items():
        refused = scale(*words)
        assert (refused.code, refused.out) == (1, ""), words
        assert told in refused.err
    assert statuses(world, jobs) == BEFORE


def test_everything_wrong_is_told_at_once(
    world: World, jobs: list[Job], scale: Callable[..., Outcome]
) -> None:
    types = ("--job-type", "tiels", "--job-type", "maps", "--job-type", "map:1.0")
    refused = scale(
        "cancel", *types, "--error", "nsf", "--error", "x", "--started", "now", "--ended", "P", "-y"
    )
    lines = refused.err.splitlines()
    assert (refused.code, lines[0]) == (1, "Several options are wrong:")
    begins = ["--job-type: ", "--job-type: ", "--error: ", "--error: ", "--started: ", "--ended: "]
    assert [line[: len(start) + 2] for line, start in zip(lines[1:], begins, strict=True)] == [
        f"  {start}" for start in begins
    ]
    assert [line.partition("Did you mean ")[2] for line in lines[1:4]] == [
        '"tiles"?',
        '"maps:1.0"?',
        '"nfs"?',
    ]
    assert statuses(world, jobs) == BEFORE


@pytest.mark.parametrize(
    "words",
    [
        ("cancel", "x"),
        ("cancel", "0"),
        ("requeue", "--status", "RUNNING"),
        ("requeue", "1", "--priority", "-1"),
        ("cancel", "1", "--priority", "1"),
    ],
)
def test_what_can_not_be_meant(scale: Callable[..., Outcome], words: tuple[str, ...]) -> None:
    assert scale(*words).code == 2
