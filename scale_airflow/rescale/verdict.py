# SPDX-License-Identifier: Apache-2.0
"""What became of a Rescale job: it waits, it succeeded, or it failed and why.

Rescale knows no status "Failed": a job whose command fails ends as ``Completed`` like one that did well. The
outcome is read from the *reason* of ``Completed``, from a ``Stopping`` anywhere in the history and, for a
job that was ended before it was validated and so never gets ``Completed``, from its cluster.
(Rescale API: list job status history, list cluster status history.)

Nothing here asks a server; :class:`Watch` is told what was read and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Protocol

SUCCESS_REASON = "Completed successfully"
# What cluster statuses say once nothing of the job can run any more.
_CLUSTER_OVER = ("Stopped", "Error")
_CLUSTER_ENDING = ("Stop Requested", "Stopping", *_CLUSTER_OVER)
_STOPPING = ("Stopping", "Force Stop")
# Has one of these, and no cluster, the job waits for one, for as long as it takes.
_WAITING_FOR_CLUSTER = ("Waiting for Queue", "Waiting for Cluster")
_VALIDATED = ("Validated", "Executing")
# A cluster that is gone while the job shows no end may also be one whose end shows a little sooner.
CLUSTER_GRACE = 60.0
# Once validated, a job gets another cluster when it has lost one, and tells itself how it ends.
_VALIDATED_GRACE = 30
_BEGINNING = datetime.min.replace(tzinfo=timezone.utc)


class StatusEntry(Protocol):
    """One entry of a status history, of a job or of its cluster."""

    @property
    def status(self) -> str:
        """The status's name, e.g. ``Executing``."""

    @property
    def date(self) -> datetime | None:
        """When it was reached; aware."""

    @property
    def reason(self) -> str | None:
        """Why, in Rescale's words; often empty."""


class FailureDetection(str, Enum):
    """How much is asked of a ``Completed`` job before it counts as a success."""

    STRICT = "strict"
    """Its reason must say so: ``Completed successfully``."""
    KNOWN = "known"
    """Its reason must not be one that is known to mean a failure; an empty or unknown one is a success."""
    EXIT_CODE = "exit_code"
    """As ``strict``, and each command must have left an exit code of 0 behind (the command gets wrapped)."""


class Cause(str, Enum):
    """Why a job failed."""

    RUN_FAILED = "run_failed"
    STOPPED = "stopped"
    NO_RESOURCES = "no_resources"
    RESTARTS = "restarts"
    ENDED_EARLY = "ended_early"
    UNKNOWN_REASON = "unknown_reason"


@dataclass(frozen=True)
class Draft:
    """The job is saved and was never submitted; it costs nothing."""


@dataclass(frozen=True)
class Waiting:
    """The job is on its way.

    :param status: its newest status, e.g. ``Queued``.
    :param stopping: whether somebody ends it; it will not succeed any more.
    """

    status: str
    stopping: bool = False

    @property
    def executing(self) -> bool:
        """Whether its command runs, so that there may be log lines to read."""
        return self.status == "Executing"


@dataclass(frozen=True)
class Succeeded:
    """The job ended and says that all is well."""


@dataclass(frozen=True)
class Failed:
    """The job ended otherwise.

    :param reason: one sentence for the user, with Rescale's own words in it.
    """

    cause: Cause
    reason: str


Verdict = Draft | Waiting | Succeeded | Failed

# Beginnings of the reasons that Rescale is known to give, in lower case.
_KNOWN_FAILURES = (
    ("a run failed", Cause.RUN_FAILED),
    ("exceeded max number of restarts", Cause.RESTARTS),
    ("could not allocate", Cause.NO_RESOURCES),
)


def newest_first(entries: Sequence[StatusEntry]) -> list[StatusEntry]:
    """Return ``entries`` by date, newest first; of one date, in the server's order, which is newest first."""
    return sorted(entries, key=lambda entry: entry.date or _BEGINNING, reverse=True)


def judge(
    statuses: Sequence[StatusEntry],
    clusters: Sequence[StatusEntry] = (),
    detection: FailureDetection = FailureDetection.STRICT,
) -> Verdict:
    """Say what became of a job.

    ``clusters`` must have been read *before* ``statuses``: a job gets ``Completed`` before its cluster stops,
    so a cluster seen stopped while a later look at the job shows no end is a job that was ended early.
    """
    history = newest_first(statuses)
    cluster = newest_first(clusters)
    if not history and not cluster:
        return Draft()
    completed = next((entry for entry in history if entry.status == "Completed"), None)
    stopped = next((entry for entry in history if entry.status in _STOPPING), None)
    if completed is not None:
        return _judge_completed(completed, stopped, detection)
    if cluster and cluster[0].status in _CLUSTER_OVER:
        return _judge_ended_early(history, stopped, cluster[0])
    return _waiting(history, cluster)


def _waiting(history: Sequence[StatusEntry], cluster: Sequence[StatusEntry]) -> Waiting:
    """A job that has not ended, though it may be about to."""
    stopping = any(entry.status in _STOPPING for entry in history)
    if not _validated(history) and cluster and cluster[0].status in _CLUSTER_ENDING:
        stopping = True
    return Waiting(history[0].status if history else "Pending", stopping=stopping)


def _validated(history: Sequence[StatusEntry]) -> bool:
    return any(entry.status in _VALIDATED for entry in history)


def _judge_completed(
    completed: StatusEntry, stopped: StatusEntry | None, detection: FailureDetection
) -> Verdict:
    """A job with ``Completed`` in its history: only its reason tells success from failure."""
    reason = _text(completed)
    known = _known_failure(reason)
    if known is not None:
        return Failed(known, f"Rescale says: {reason}")
    if stopped is not None:
        return _stopped(stopped, reason)
    if reason.rstrip(".").casefold() == SUCCESS_REASON.casefold():
        return Succeeded()
    if detection is FailureDetection.KNOWN:
        return Succeeded()
    said = f"the reason {reason!r}, which is" if reason else "no reason, which is"
    return Failed(
        Cause.UNKNOWN_REASON,
        f"The job completed with {said} not known to mean success "
        "(failure_detection='known' would accept it)",
    )


def _judge_ended_early(
    history: Sequence[StatusEntry], stopped: StatusEntry | None, cluster: StatusEntry
) -> Verdict:
    """A job without ``Completed`` whose cluster is gone."""
    if stopped is not None:
        return _stopped(stopped, "")
    said = _text(cluster) or (_text(history[0]) if history else "")
    known = _known_failure(said) or Cause.ENDED_EARLY
    last = f"its last status was {history[0].status}" if history else "it had no status yet"
    because = f" ({said})" if said else ""
    return Failed(
        known,
        f"The job was ended before it could run: its cluster is {cluster.status}{because}, {last} "
        "and it never completed",
    )


def _stopped(stopped: StatusEntry, completed_reason: str) -> Failed:
    """A job that somebody or something ended."""
    reason = _text(stopped)
    if not reason and completed_reason.casefold() != SUCCESS_REASON.casefold():
        reason = completed_reason
    known = _known_failure(reason)
    if known is not None:
        return Failed(known, f"Rescale says: {reason}")
    because = f": {reason}" if reason else " and gave no reason"
    return Failed(
        Cause.STOPPED, f"The job was stopped before it had finished; Rescale says {stopped.status}{because}"
    )


def _known_failure(reason: str) -> Cause | None:
    """Return the cause that a reason of Rescale's is known to mean."""
    folded = reason.casefold()
    return next((cause for beginning, cause in _KNOWN_FAILURES if folded.startswith(beginning)), None)


def _text(entry: StatusEntry) -> str:
    return (entry.reason or "").strip()


class Watch:
    """Judges one job again and again; certain where :func:`judge` looks once.

    A cluster that is gone while the job shows no end counts only when it stays so for ``grace`` seconds, and
    much longer once the job has been validated: Rescale may be about to start it on another cluster.
    """

    def __init__(
        self, detection: FailureDetection = FailureDetection.STRICT, *, grace: float = CLUSTER_GRACE
    ) -> None:
        self._detection = detection
        self._grace = grace
        self._gone_since: float | None = None

    def look(self, statuses: Sequence[StatusEntry], clusters: Sequence[StatusEntry], now: float) -> Verdict:
        """Judge what was read at ``now`` (seconds of a clock that only goes forward)."""
        verdict = judge(statuses, clusters, self._detection)
        completed = any(entry.status == "Completed" for entry in statuses)
        if completed or not isinstance(verdict, Failed):
            self._gone_since = None
            return verdict
        history = newest_first(statuses)
        waiting = _waiting(history, newest_first(clusters))
        if self._gone_since is None or waiting.status in _WAITING_FOR_CLUSTER:
            self._gone_since = now
        patient = _validated(history) and not waiting.stopping
        if now - self._gone_since >= self._grace * (_VALIDATED_GRACE if patient else 1):
            return verdict
        return waiting


def needs_cluster(statuses: Sequence[StatusEntry]) -> bool:
    """Whether a look at the cluster can change the verdict that ``statuses`` alone give.

    Not for a job that has completed. An executing one is left to its own statuses too: it says itself when it
    stops or completes.
    """
    return all(entry.status != "Completed" for entry in statuses)
