# SPDX-License-Identifier: Apache-2.0
"""The outcome of a job is read from reasons, histories and clusters, not from its status alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from scale_airflow.rescale.verdict import (
    Cause,
    Draft,
    Failed,
    FailureDetection,
    Succeeded,
    Waiting,
    Watch,
    judge,
    needs_cluster,
    newest_first,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Entry:
    status: str
    date: datetime | None = None
    reason: str | None = ""


def history(*entries: tuple[str, str] | str) -> list[Entry]:
    """Entries from oldest to newest, a minute apart, as the server shows them: newest first."""
    made = [
        Entry(entry if isinstance(entry, str) else entry[0], NOON + timedelta(minutes=minute), reason)
        for minute, entry in enumerate(entries)
        for reason in ["" if isinstance(entry, str) else entry[1]]
    ]
    return made[::-1]


RUN = ("Pending", "Queued", "Started", "Validated", "Executing")


def test_a_saved_job_is_a_draft():
    assert judge([]) == Draft()


@pytest.mark.parametrize("length", range(1, 6))
def test_a_job_on_its_way_waits(length):
    verdict = judge(history(*RUN[:length]), history("Not Started", "Started"))
    assert verdict == Waiting(RUN[length - 1])
    assert verdict.executing == (length == 5)


def test_a_cluster_without_a_job_status_is_no_draft():
    assert judge([], history("Starting")) == Waiting("Pending")


@pytest.mark.parametrize(
    "reason", ["Completed successfully", "completed successfully.", " Completed successfully "]
)
def test_success_is_what_says_so(reason):
    assert judge(history(*RUN, ("Completed", reason))) == Succeeded()


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("A run failed", Cause.RUN_FAILED),
        ("A run failed.", Cause.RUN_FAILED),
        ("Exceeded max number of restarts", Cause.RESTARTS),
        ("Could not allocate compute resources from the compute provider", Cause.NO_RESOURCES),
    ],
)
@pytest.mark.parametrize("detection", list(FailureDetection))
def test_known_failures_are_failures_however_little_is_asked(reason, cause, detection):
    verdict = judge(history(*RUN, ("Completed", reason)), detection=detection)
    assert isinstance(verdict, Failed)
    assert verdict.cause is cause
    assert reason in verdict.reason


@pytest.mark.parametrize("reason", ["", None, "Walltime reached", "Something new"])
def test_an_unknown_reason_is_a_success_only_when_asked_for(reason):
    entries = [*history(*RUN), Entry("Completed", NOON + timedelta(hours=1), reason)]
    verdict = judge(entries)
    assert isinstance(verdict, Failed)
    assert verdict.cause is Cause.UNKNOWN_REASON
    assert (reason or "no reason") in verdict.reason
    assert judge(entries, detection=FailureDetection.KNOWN) == Succeeded()


def test_a_stop_by_someone_else_is_a_failure_once_the_job_is_over():
    stopping = history(*RUN, ("Stopping", "Job stopped by user jane"))
    assert judge(stopping) == Waiting("Stopping", stopping=True)
    for end in ("Completed successfully", ""):
        verdict = judge(history(*RUN, ("Stopping", "Job stopped by user jane"), ("Completed", end)))
        assert isinstance(verdict, Failed)
        assert verdict.cause is Cause.STOPPED
        assert "jane" in verdict.reason


def test_the_reason_of_a_silent_stop_is_that_of_the_end():
    verdict = judge(history(*RUN, "Force Stop", ("Completed", "Terminated")))
    assert isinstance(verdict, Failed)
    assert "Terminated" in verdict.reason


def test_restarts_that_end_in_a_stop_keep_their_own_cause():
    verdict = judge(history(*RUN, ("Stopping", "Exceeded max number of restarts"), "Completed"))
    assert isinstance(verdict, Failed)
    assert verdict.cause is Cause.RESTARTS


def test_a_job_ended_before_it_was_validated_shows_in_its_cluster_alone():
    clusters = history("Not Started", "Starting", ("Stopped", "Could not allocate compute resources"))
    verdict = judge(history("Pending", "Queued"), clusters)
    assert isinstance(verdict, Failed)
    assert verdict.cause is Cause.NO_RESOURCES
    for over in ("Stopped", "Error"):
        verdict = judge(history("Pending", "Queued"), history("Starting", over))
        assert isinstance(verdict, Failed)
        assert verdict.cause is Cause.ENDED_EARLY
        assert "Queued" in verdict.reason
        assert over in verdict.reason


def test_a_cluster_of_unknown_state_is_waited_for():
    assert judge(history(*RUN), history("Started", "Unknown")) == Waiting("Executing")


def test_completed_beats_the_cluster():
    assert judge(history(*RUN, ("Completed", "Completed successfully")), history("Stopped")) == Succeeded()


def test_entries_of_one_moment_keep_the_servers_order():
    same = [Entry("Executing", NOON), Entry("Validated", NOON), Entry("Pending", None)]
    assert [entry.status for entry in newest_first(same)] == ["Executing", "Validated", "Pending"]
    assert judge(same) == Waiting("Executing")


def test_the_order_of_the_answer_does_not_matter():
    assert judge(history(*RUN, ("Completed", "Completed successfully"))[::-1]) == Succeeded()
    assert judge(history(*RUN)[::-1]) == Waiting("Executing")


class TestWatch:
    def test_a_cluster_that_is_gone_counts_when_it_stays_gone(self):
        watch = Watch(grace=60)
        queued, gone = history("Pending", "Queued"), history("Starting", "Stopped")
        assert watch.look(queued, gone, 100) == Waiting("Queued", stopping=True)
        assert watch.look(queued, gone, 159) == Waiting("Queued", stopping=True)
        assert isinstance(watch.look(queued, gone, 160), Failed)

    def test_a_validated_job_may_get_another_cluster(self):
        watch = Watch(grace=60)
        gone = history("Starting", "Stopped")
        assert watch.look(history(*RUN), gone, 100) == Waiting("Executing")
        assert watch.look(history(*RUN), gone, 1800) == Waiting("Executing")
        assert isinstance(watch.look(history(*RUN), gone, 1900), Failed)
        for status in ("Waiting for Cluster", "Waiting for Queue"):
            watch = Watch(grace=60)
            for now in (100, 5000, 100_000):
                assert watch.look(history(*RUN, status), gone, now) == Waiting(status)

    def test_a_job_that_was_stopped_needs_no_end_of_its_own(self):
        watch = Watch(grace=60)
        stopped, gone = history(*RUN, ("Stopping", "by jane")), history("Started", "Stopped")
        assert watch.look(stopped, gone, 100) == Waiting("Stopping", stopping=True)
        verdict = watch.look(stopped, gone, 161)
        assert isinstance(verdict, Failed)
        assert "jane" in verdict.reason

    def test_a_cluster_that_comes_back_starts_the_count_again(self):
        watch = Watch(grace=60)
        queued, gone = history("Pending", "Queued"), history("Starting", "Stopped")
        watch.look(queued, gone, 100)
        assert watch.look(queued, history("Stopped", "Starting"), 130) == Waiting("Queued")
        assert watch.look(queued, gone, 161) == Waiting("Queued", stopping=True)
        assert isinstance(watch.look(queued, gone, 221), Failed)

    def test_a_completed_job_needs_no_second_look(self):
        assert isinstance(Watch().look(history(*RUN, ("Completed", "A run failed")), [], 0), Failed)


def test_the_cluster_matters_until_the_job_completes():
    assert needs_cluster(history("Pending"))
    assert needs_cluster([])
    assert not needs_cluster(history(*RUN, ("Completed", "")))
