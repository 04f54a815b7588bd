# SPDX-License-Identifier: Apache-2.0
"""One paid run of a Rescale job, whatever is killed and whichever answers are lost.

Rescale knows no idempotency key, but it takes two calls to start a job: ``POST /jobs/`` saves a draft, which
costs nothing, and ``POST /jobs/{id}/submit/`` starts it. So:

1. a draft is created whose name carries a **marker** of the task (and none of its try);
2. its id is **remembered** where a later try finds it;
3. it is submitted, when its status history is empty;
4. it is waited for.

A crash between 1 and 2 leaves a draft that the next try finds by its marker; a crash or a lost answer after
2 is cleared up by reading the statuses. Neither call is ever repeated before the server has been asked, for
a while, what came of the first.

:func:`settle` is the whole of it as a generator: it yields steps and is sent their results, so the same lines
serve synchronous and asynchronous callers and a model of the server in the tests, which crashes between any
two of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scale_airflow.errors import (
    RescaleBadAnswer,
    RescaleError,
    RescaleNotFound,
    RescaleRefused,
    RescaleServerError,
    RescaleThrottled,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale.submission_steps import (
    Create,
    Discard,
    Equip,
    FindMarked,
    Found,
    Memory,
    Pause,
    Prepare,
    ReadClusters,
    ReadStatuses,
    Recall,
    Remember,
    Say,
    Step,
    Submit,
)
from scale_airflow.rescale.verdict import (
    CLUSTER_GRACE,
    Draft,
    Failed,
    StatusEntry,
    Succeeded,
    Verdict,
    Waiting,
    Watch,
)

_LONGEST_NAME = 200
# An error after which nobody knows whether the server has done what it was asked.
_UNCLEAR = (RescaleUncertain, RescaleBadAnswer, RescaleServerError, RescaleUnreachable)
_AWAY = (RescaleServerError, RescaleUnreachable, RescaleThrottled, RescaleBadAnswer)
_ATTEMPTS = 3


@dataclass(frozen=True)
class Marker:
    """What tells the jobs of one task instance from all others.

    :param key: from DAG, run, task and map index; the same for each try.
    :param payload: from what the task asks for, so that a draft of an older version of the DAG is not used.
    """

    key: str
    payload: str

    @classmethod
    def of(cls, dag_id: str, run_id: str, task_id: str, map_index: int, payload: object) -> Marker:
        """Make the marker of a task instance; ``payload`` is what can be written as JSON."""
        identity = "\0".join((dag_id, run_id, task_id, str(map_index)))
        return cls(
            hashlib.sha256(identity.encode()).hexdigest()[:16],
            hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).hexdigest()[:8],
        )

    @property
    def tag(self) -> str:
        """The job's tag, for people who look for it on the platform."""
        return f"airflow-{self.key}"

    @property
    def suffix(self) -> str:
        """What a job's name ends in."""
        return f"[airflow-{self.key}-{self.payload}]"

    def name(self, name: str) -> str:
        """Return ``name`` with the marker behind it."""
        return f"{name[: _LONGEST_NAME - len(self.suffix) - 1].rstrip()} {self.suffix}".lstrip()

    def payload_of(self, name: str) -> str | None:
        """Return the payload part of a job's name that carries this key, None for any other job."""
        head, found, rest = name.rpartition(f"[airflow-{self.key}-")
        payload = rest[:-1]
        known = found and rest.endswith("]") and len(payload) == len(self.payload) and payload.isalnum()
        return payload if known and (not head or head.endswith(" ")) else None


@dataclass(frozen=True)
class Patience:
    """How long a submission waits for what; seconds.

    :param grace: how long statuses are read again before a second submit, drafts before a second create.
    :param settling: pause before a job that an earlier try left running is trusted to go on: whatever ended
        that try may be about to stop the job.
    :param stopping: how long a job that is being stopped is waited for before a fresh one replaces it.
    :param away: how long a server that does not answer is asked what became of a submit.
    """

    grace: float = 15.0
    settling: float = 10.0
    stopping: float = 300.0
    away: float = 600.0


@dataclass(frozen=True)
class Outcome:
    """The one job of a task instance.

    :param created: whether this very try created it.
    :param verdict: what it was when last looked at: :class:`Succeeded` needs no waiting any more.
    """

    job_id: str
    created: bool
    verdict: Verdict


Settling = Generator[Step, Any, Outcome]


def settle(
    marker: Marker,
    *,
    again: Callable[[Memory], bool] = lambda memory: False,
    patience: Patience | None = None,
) -> Settling:
    """Find the task's job or make it, so that one paid run of it exists.

    :param again: says of what was remembered whether the task, having finished with that job, is to run anew.
    :raises RescaleError: what the server says to a request that is no use repeating;
        :class:`RescaleUncertain` where it could not be found out whether the job was started.
    """
    patience = patience or Patience()
    memory: Memory | None = yield Recall()
    if memory is not None and not memory.failed and not again(memory):
        taken = yield from _take_up(memory.job_id, patience)
        if taken is not None:
            return taken
    elif memory is not None and memory.failed:
        yield Say(
            f"Job {memory.job_id} of an earlier try failed ({memory.failed}): a fresh one takes its place"
        )
    ignored = memory.job_id if memory is not None else None
    found, running = yield from _marked(marker, ignored)
    if running is not None:
        yield Say(f"Job {running} carries this task's marker and is on its way: it is taken up")
        yield Remember(Memory(running))
        return Outcome(running, created=False, verdict=Waiting("Pending"))
    created = found is None
    unclear = False
    if found is None:
        found, unclear = yield from _create(marker, ignored, patience)
    else:
        yield Say(f"Draft {found} of an earlier try is used")
    yield Remember(Memory(found))
    yield Equip(found)
    yield from _submit(found, patience, submitted_before=not created)
    if unclear:
        # Of a create that was repeated both may have arrived; a draft too many is free, but in the way.
        yield from _marked(marker, found, reuse=False)
    return Outcome(found, created=created, verdict=Waiting("Pending"))


def _take_up(job_id: str, patience: Patience) -> Generator[Step, Any, Outcome | None]:
    """Go on with the remembered job; None when it is over or gone and a fresh one is needed."""
    watch = Watch(grace=min(CLUSTER_GRACE, patience.stopping / 5))
    try:
        verdict = yield from _look(job_id, watch, 0.0)
        if isinstance(verdict, Draft):
            yield Say(f"Draft {job_id} of an earlier try is used")
            yield Equip(job_id)
            yield from _submit(job_id, patience, submitted_before=True)
            return Outcome(job_id, created=False, verdict=Waiting("Pending"))
        if isinstance(verdict, Waiting) and not verdict.stopping:
            yield Pause(patience.settling)
            verdict = yield from _look(job_id, watch, patience.settling)
        waited = 0.0
        while isinstance(verdict, Waiting) and verdict.stopping and waited < patience.stopping:
            if not waited:
                yield Say(f"Job {job_id} of an earlier try is being stopped; a fresh one follows it")
            pause = min(5.0, patience.stopping / 10)
            yield Pause(pause)
            waited += pause
            verdict = yield from _look(job_id, watch, patience.settling + waited)
    except RescaleNotFound:
        yield Say(f"Job {job_id} of an earlier try is gone")
        return None
    if isinstance(verdict, Failed):
        yield Say(f"Job {job_id} of an earlier try failed ({verdict.reason}): a fresh one takes its place")
        return None
    if isinstance(verdict, Waiting) and verdict.stopping:
        return None
    yield Say(
        f"Job {job_id} of an earlier try has succeeded"
        if isinstance(verdict, Succeeded)
        else f"Job {job_id} of an earlier try goes on"
    )
    return Outcome(job_id, created=False, verdict=verdict)


def _look(job_id: str, watch: Watch, now: float) -> Generator[Step, Any, Verdict]:
    """Judge a job; its cluster is read first (see :func:`verdict.judge`)."""
    clusters: Sequence[StatusEntry] = yield ReadClusters(job_id)
    statuses: Sequence[StatusEntry] = yield ReadStatuses(job_id)
    return watch.look(statuses, clusters, now)


def _marked(
    marker: Marker, ignored: str | None, *, reuse: bool = True
) -> Generator[Step, Any, tuple[str | None, str | None]]:
    """Return the draft and the running job that carry the marker; drafts that nobody needs are deleted."""
    draft: str | None = None
    found: Sequence[Found] = yield FindMarked(marker.key)
    for job in found:
        payload = marker.payload_of(job.name)
        if payload is None or job.id == ignored:
            continue
        try:
            statuses: Sequence[StatusEntry] = yield ReadStatuses(job.id)
        except RescaleNotFound:
            continue
        verdict = Watch().look(statuses, (), 0.0)
        if isinstance(verdict, Waiting) and not verdict.stopping:
            # Without a look at its cluster: whoever waits for it takes that.
            return None, job.id
        if not isinstance(verdict, Draft):
            continue
        if reuse and draft is None and payload == marker.payload:
            draft = job.id
        else:
            yield Discard(job.id)
    return draft, None


def _create(
    marker: Marker, ignored: str | None, patience: Patience
) -> Generator[Step, Any, tuple[str, bool]]:
    """Make the draft; an unclear answer is cleared up by looking for it. Also says whether there was one."""
    body: dict[str, Any] = yield Prepare()
    error: RescaleError | None = None
    for _ in range(_ATTEMPTS):
        try:
            job_id: str = yield Create(body)
        except _UNCLEAR as unclear:
            error = unclear
            yield Say(f"Whether the draft was saved is not known ({unclear}): looking for it")
        else:
            return job_id, error is not None
        for pause in _pauses(patience.grace):
            yield Pause(pause)
            try:
                draft = yield from _newest_draft(marker, ignored)
            except _AWAY as away:
                error = away
                continue
            if draft is not None:
                return draft, True
    assert error is not None
    raise error


def _newest_draft(marker: Marker, ignored: str | None) -> Generator[Step, Any, str | None]:
    found: Sequence[Found] = yield FindMarked(marker.key)
    for job in found:
        if job.id != ignored and marker.payload_of(job.name) == marker.payload:
            statuses: Sequence[StatusEntry] = yield ReadStatuses(job.id)
            if not statuses:
                return job.id
    return None


def _submit(job_id: str, patience: Patience, *, submitted_before: bool) -> Generator[Step, Any, None]:
    """Start the job unless it has been; asks for a while before any second submit."""
    if submitted_before:
        started = yield from _shows_submit(job_id, patience)
    else:
        started = bool((yield ReadStatuses(job_id)))
    error: RescaleError | None = None
    for _ in range(_ATTEMPTS):
        if started:
            return
        try:
            yield Submit(job_id)
        except _UNCLEAR as unclear:
            error = unclear
            yield Say(f"Whether job {job_id} was started is not known ({unclear}): reading its statuses")
            started = yield from _shows_submit(job_id, patience)
        except RescaleRefused:
            if not (yield ReadStatuses(job_id)):
                # A draft that can't be started (an input is gone, say) must not be found again.
                yield Discard(job_id)
                raise
            return
        else:
            return
    if not started:
        raise RescaleUncertain(
            f"Job {job_id} was not started: {error}. Its statuses show no submit; the next try looks again",
            job_id=job_id,
        )


def _shows_submit(job_id: str, patience: Patience) -> Generator[Step, Any, bool]:
    """Read the statuses for the grace period; a server that is away is waited for much longer."""
    away = 0.0
    for pause in _pauses(patience.grace):
        while True:
            try:
                statuses: Sequence[StatusEntry] = yield ReadStatuses(job_id)
                break
            except _AWAY as error:
                if away >= patience.away:
                    raise RescaleUncertain(
                        f"Job {job_id} may have been started, but the server no longer answers ({error}). "
                        "Look at the job on the platform, or try the task again: it takes up what it finds",
                        job_id=job_id,
                    ) from error
                nap = min(30.0, max(1.0, patience.away / 20))
                away += nap
                yield Pause(nap)
        if statuses:
            return True
        yield Pause(pause)
    return bool((yield ReadStatuses(job_id)))


def _pauses(grace: float) -> list[float]:
    """Split the grace period in growing pauses: the answer is most often there at once."""
    return [grace * share for share in (0.05, 0.1, 0.15, 0.3, 0.4)]


def failed(memory: Memory, reason: str) -> Memory:
    """Return what to remember once the job is known to have failed for good."""
    return replace(memory, failed=reason or "no reason given")
