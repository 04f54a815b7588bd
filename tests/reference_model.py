# SPDX-License-Identifier: Apache-2.0
"""What Scale's specification says about jobs and recipes, and Airflow about tasks, in plain Python.

Nothing here knows a database. The state machine test drives this and the real services with the same steps
and compares them after each.

Words: a *job* of Scale has *tries* (its executions) and a *task* in Airflow. A *worker* is the process that
runs a task; it *holds* the try that it claimed last, until another claims it. What Airflow's scheduler and
users do to tasks is in the second half, what the reconciler makes of it in the third.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

GIVEN_UP = {"failed", "upstream_failed", "skipped"}
OVER = {*GIVEN_UP, "success"}
WAITING = {None, "scheduled", "up_for_retry", "deferred"}


@dataclass(eq=False)
class Task:
    """A task of a DAG run. Each try has an ``identity``; a clear makes a new one without a start."""

    state: str | None = None
    number: int = 0
    identity: int = 0
    cleared: list[int] = field(default_factory=list)
    ended: int = 0


@dataclass(eq=False)
class Try:
    """A job execution. ``own`` is the identity of the task's try that asked for it last."""

    status: str = "QUEUED"
    own: int | None = None
    holder: object = None
    given_up: bool = False


@dataclass(eq=False)
class Type:
    """What of a job type is read while its jobs wait or run."""

    max_tries: int
    long_running: bool = False
    paused: bool = False
    mapping: dict[int, str] = field(default_factory=dict)


@dataclass(eq=False)
class Job:
    """A job of Scale, and its task."""

    type: Type
    parents: list[str]
    max_tries: int
    status: str = "PENDING"
    has_data: bool = False
    tries: list[Try] = field(default_factory=list)
    task: Task = field(default_factory=Task)
    waiting_since: int = 0

    @property
    def latest(self) -> Try:
        return self.tries[-1]


@dataclass(eq=False)
class Run:
    """A recipe, or a job queued alone (of the one name ``job``), with its DAG run."""

    jobs: dict[str, Job]
    is_recipe: bool
    state: str | None = None  # of the DAG run; None before dispatch, "deleted" after a user deleted it
    completed: bool = False

    def parents(self, job: Job) -> list[Job]:
        return [self.jobs[name] for name in job.parents]

    def name_of(self, job: Job) -> str:
        return next(name for name, found in self.jobs.items() if found is job)

    def after(self, job: Job) -> list[Job]:
        """Those that depend on a job, over all generations, parents first."""
        names, found = {self.name_of(job)}, []
        for name, other in self.jobs.items():
            if names & set(other.parents):
                names.add(name)
                found.append(other)
        return found


#: The categories of the errors that failures are reported with.
CATEGORIES = {"bad-data": "DATA", "bad-code": "ALGORITHM", "bad-disk": "SYSTEM"}


class Scale:
    """The specification's state machine."""

    def __init__(self, types: dict[str, Type]) -> None:
        self.types = types
        self.runs: list[Run] = []
        self.queue: list[Run | tuple[Run, Job]] = []
        self.is_paused = False
        self.node_is_paused = False
        self.clock = 0

    def now(self) -> int:
        self.clock += 1
        return self.clock

    # -- queue ---------------------------------------------------------------------------------------------

    def queue_job(self, type_name: str) -> Run:
        return self._queue({"job": (type_name, [])}, is_recipe=False)

    def queue_recipe(self, type_name: str, graph: dict[str, list[str]]) -> Run:
        """All jobs of a recipe are created at once; those without parents are queued."""
        return self._queue({name: (type_name, parents) for name, parents in graph.items()}, is_recipe=True)

    def _queue(self, jobs: dict[str, tuple[str, list[str]]], *, is_recipe: bool) -> Run:
        made = {
            name: Job(self.types[type_name], parents, self.types[type_name].max_tries)
            for name, (type_name, parents) in jobs.items()
        }
        run = Run(made, is_recipe)
        self.runs.append(run)
        self.queue.append(run)
        for job in made.values():
            if not job.parents:
                self._begin_try(job)
        return run

    def _begin_try(self, job: Job) -> None:
        job.has_data = True
        job.tries.append(Try())
        job.status = "QUEUED"

    def dispatch(self) -> None:
        """Bring what waits into Airflow, but no paused job types; nothing while the scheduler is paused."""
        if self.is_paused:
            return
        for entry in list(self.queue):
            run, job = (entry, None) if isinstance(entry, Run) else entry
            starts = [job] if job else [found for found in run.jobs.values() if not found.parents]
            if all(found.type.paused for found in starts):
                continue
            self.queue.remove(entry)
            if run.state is None:
                run.state = "queued"
                for found in run.jobs.values():
                    if found.status == "CANCELED":
                        self._end_task(found, "failed")
            elif job is not None:
                self._dispatch_again(run, job)

    def _dispatch_again(self, run: Run, job: Job) -> None:
        if run.state == "deleted":
            self._restore(run)
            return
        self._clear(
            run, [job, *(other for other in run.jobs.values() if other.status in ("PENDING", "BLOCKED"))]
        )

    def _restore(self, run: Run) -> None:
        """A run that a user deleted is made anew, with its tasks as Scale's jobs are."""
        run.state = "queued"
        for job in run.jobs.values():
            if job.status == "COMPLETED":
                self._end_task(job, "success")
            elif job.status in ("FAILED", "CANCELED"):
                self._end_task(job, "failed")

    # -- claims and reports --------------------------------------------------------------------------------

    def claim(self, run: Run, job: Job, worker: object) -> str:
        """A worker asks for its job: ``go``, ``wait``, or how it is over (``completed``, ``failed``, …)."""
        if job.status in ("FAILED", "CANCELED") and self._was_cleared(job):
            self._requeue_cleared(run, job)
        if job.status in ("COMPLETED", "FAILED", "CANCELED"):
            return job.status.lower()
        if job.status == "BLOCKED":
            return "failed"
        if job.status == "PENDING":
            return "wait"
        latest = job.latest
        if latest.status == "QUEUED" and (self.is_paused or self.node_is_paused or job.type.paused):
            latest.own = job.task.identity
            return "wait"
        latest.own, latest.holder = job.task.identity, worker
        latest.status = job.status = "RUNNING"
        self._leave_queue(run, job)
        return "go"

    def complete(self, run: Run, job: Job, number: int, worker: object) -> str:
        """A worker reports results of the try that it was given."""
        answer = self._refuse_report(job, number, worker)
        if answer is not None:
            return answer
        job.tries[number].status = job.status = "COMPLETED"
        self._follow(run)
        return "done"

    def fail(self, run: Run, job: Job, number: int, worker: object, error: str) -> str:
        """A worker reports a failure; errors without a category of their own are the system's."""
        answer = self._refuse_report(job, number, worker)
        if answer is not None:
            return answer
        job.tries[number].status = "FAILED"
        is_system = CATEGORIES.get(error, "SYSTEM") == "SYSTEM"
        if (is_system and len(job.tries) < max(job.max_tries, 1)) or job.type.long_running:
            self._begin_try(job)
            return "retry"
        job.status = "FAILED"
        self._block(run, job)
        return "failed"

    def error_of(self, job: Job, exit_code: int) -> str:
        return job.type.mapping.get(exit_code, "unknown")

    def _refuse_report(self, job: Job, number: int, worker: object) -> str | None:
        """Only the holder's word counts, once; a repeated report is answered as the first was."""
        found = job.tries[number]
        if found.holder is not worker:
            return "forbidden"
        if found.status == "RUNNING":
            return None
        if found.status == "COMPLETED":
            return "done"
        if found.status == "CANCELED":
            return "ignored"
        return "retry" if len(job.tries) > number + 1 else "failed"

    # -- recipes -------------------------------------------------------------------------------------------

    def _follow(self, run: Run) -> None:
        for job in run.jobs.values():
            if job.status == "PENDING" and all(found.status == "COMPLETED" for found in run.parents(job)):
                self._begin_try(job)
        run.completed = run.is_recipe and all(job.status == "COMPLETED" for job in run.jobs.values())

    def _block(self, run: Run, job: Job) -> None:
        for other in run.after(job):
            if other.status == "PENDING":
                other.status = "BLOCKED"

    def _free(self, run: Run) -> list[Job]:
        freed = []
        for job in run.jobs.values():
            stuck = any(found.status in ("FAILED", "CANCELED", "BLOCKED") for found in run.parents(job))
            if job.status == "BLOCKED" and not stuck:
                job.status, job.waiting_since = "PENDING", self.now()
                freed.append(job)
        return freed

    # -- cancel and requeue --------------------------------------------------------------------------------

    def cancel(self, run: Run, job: Job) -> bool:
        """Anything but COMPLETED and CANCELED can be canceled; its task never starts, or is killed."""
        if job.status in ("COMPLETED", "CANCELED"):
            return False
        self._cancel(run, job)
        if run.state not in (None, "deleted") and job.task.state not in OVER:
            self._end_task(job, "failed")
        return True

    def _cancel(self, run: Run, job: Job) -> None:
        if job.tries and job.latest.status in ("QUEUED", "RUNNING"):
            job.latest.status = "CANCELED"
        job.status = "CANCELED"
        self._block(run, job)
        self._leave_queue(run, job)
        if run in self.queue and not any(found.status == "QUEUED" for found in run.jobs.values()):
            self.queue.remove(run)

    def _leave_queue(self, run: Run, job: Job) -> None:
        if (run, job) in self.queue:
            self.queue.remove((run, job))

    def requeue(self, run: Run, job: Job) -> None:
        """FAILED and CANCELED jobs get exactly one more try; what they blocked waits again."""
        self.requeue_many(run, [job])

    def requeue_many(self, run: Run, jobs: Iterable[Job]) -> None:
        """The same for several at once; those that are neither stay as they are."""
        again = [job for job in jobs if job.status in ("FAILED", "CANCELED")]
        freed, queued = self._begin_again(run, again)
        for job in queued:
            self._enqueue(run, job)
        self._free_tasks(run, freed, queued)

    def _begin_again(self, run: Run, jobs: list[Job]) -> tuple[list[Job], list[Job]]:
        """Return the jobs that wait for their parents again, and those that are QUEUED again."""
        for job in jobs:
            if job.tries:
                job.max_tries = len(job.tries) + 1
            if job.has_data:
                self._begin_try(job)
            else:
                job.status = "BLOCKED"
        queued = [job for job in jobs if job.has_data]
        freed = self._free(run) if jobs else []
        waiting = [job for job in run.jobs.values() if job.status == "PENDING"]
        self._follow(run)
        return freed, queued + [job for job in waiting if job.status == "QUEUED"]

    def _enqueue(self, run: Run, job: Job) -> None:
        entry = (run, job) if run.state is not None else run
        if entry not in self.queue:
            self.queue.append(entry)

    def _free_tasks(self, run: Run, freed: list[Job], queued: list[Job]) -> None:
        """What waits for jobs that Airflow is at already is cleared at once."""
        if run.state in (None, "deleted"):
            return
        held = {run.name_of(job) for job in queued}
        held |= {
            run.name_of(entry[1]) for entry in self.queue if not isinstance(entry, Run) and entry[0] is run
        }
        for name, job in run.jobs.items():
            if held & set(job.parents):
                held.add(name)
            elif job in freed and job.status == "PENDING" and job.task.state in GIVEN_UP:
                self._clear(run, [job])

    def _was_cleared(self, job: Job) -> bool:
        own = job.latest.own if job.tries else None
        if own is None:
            return job.status == "CANCELED" and job.task.state not in OVER
        return any(own < identity <= job.task.identity for identity in job.task.cleared)

    def _requeue_cleared(self, run: Run, job: Job) -> None:
        """A user's clear in Airflow is a requeue; the task of the job itself is to run already."""
        freed, _ = self._begin_again(run, [job])
        self._clear(run, [found for found in freed if found is not job and found.status == "PENDING"])

    # -- what Airflow does ---------------------------------------------------------------------------------

    def scheduler_looks(self) -> None:
        """Tasks whose parents all succeeded are scheduled, the others given up; then the run may be over."""
        for run in self.runs:
            if run.state not in ("queued", "running"):
                continue
            run.state = "running"
            for job in run.jobs.values():
                self._schedule(run, job)
            is_stuck = self._is_stuck(run)
            states = [job.task.state for job in run.jobs.values()]
            if is_stuck and not all(state in OVER for state in states):
                run.state = "failed"  # Airflow calls it a deadlock
            elif all(state in OVER for state in states):
                leaves = [
                    job.task.state
                    for name, job in run.jobs.items()
                    if not any(name in other.parents for other in run.jobs.values())
                ]
                run.state = (
                    "failed" if any(state in ("failed", "upstream_failed") for state in leaves) else "success"
                )

    def _is_stuck(self, run: Run) -> bool:
        """Say whether nothing that is left can run; what has begun after a task that failed is given up."""
        left = [job for job in run.jobs.values() if job.task.state not in OVER]
        above = [[parent.task.state for parent in run.parents(job)] for job in left]
        can_run = any(all(state == "success" for state in states) for states in above)
        if not left or can_run or any(job.task.state == "deferred" for job in left):
            return False
        for job, states in zip(left, above, strict=True):
            if any(state in ("failed", "upstream_failed") for state in states):
                self._end_task(job, "upstream_failed")
            elif any(state == "skipped" for state in states):
                self._end_task(job, "skipped")
        return True

    def _schedule(self, run: Run, job: Job) -> None:
        task = job.task
        if task.state not in (None, "up_for_retry"):
            return
        above = [parent.task.state for parent in run.parents(job)]
        if any(state in ("failed", "upstream_failed") for state in above):
            self._end_task(job, "upstream_failed")
        elif any(state == "skipped" for state in above):
            self._end_task(job, "skipped")
        elif all(state == "success" for state in above):
            task.state, task.number = "scheduled", task.number + 1

    def _end_task(self, job: Job, state: str) -> None:
        job.task.state, job.task.ended = state, self.now()

    def worker_starts(self, job: Job) -> None:
        job.task.state = "running"

    def worker_waits(self, job: Job) -> None:
        job.task.state = "deferred"

    def trigger_fires(self, job: Job) -> None:
        job.task.state = "scheduled"

    def worker_ends(self, job: Job, how: str) -> None:
        """The worker's process ends as it was told; Airflow tries it again at most."""
        if how == "retry":
            self.worker_dies(job)
        else:
            self._end_task(job, "success" if how == "done" else "failed")

    def worker_dies(self, job: Job) -> None:
        if job.task.state == "running":
            job.task.identity += 1
        job.task.state = "up_for_retry"

    # -- what users do in Airflow --------------------------------------------------------------------------

    def user_clears(self, run: Run, jobs: Iterable[Job]) -> None:
        """What runs is stopped and tried again; all else waits for its turn again."""
        for job in jobs:
            job.task.identity += 1
            if job.task.state == "running":
                job.task.state = "restarting"
                continue
            job.task.state = None
            job.task.cleared.append(job.task.identity)
        self._look_again(run)

    def user_marks(self, run: Run, job: Job, state: str) -> None:
        """Airflow sets the task's state, and clears what it gave up of those after it."""
        self._end_task(job, state)
        given_up = [other for other in run.after(job) if other.task.state in ("failed", "upstream_failed")]
        if given_up:
            self.user_clears(run, given_up)

    def user_deletes_run(self, run: Run) -> None:
        run.state = "deleted"
        for job in run.jobs.values():
            job.task = Task(identity=job.task.identity + 1)

    # -- what the reconciler does --------------------------------------------------------------------------

    def reconcile(self) -> None:
        """What Airflow and Scale believe of a job is made to agree."""
        for run in self.runs:
            if run.state is None:
                continue
            for job in run.jobs.values():
                if job.status in ("QUEUED", "RUNNING") and not self._is_on_queue(run, job):
                    self._can_it_go_on(run, job)
        for run in self.runs:
            for job in run.jobs.values():
                if run.state in ("queued", "running") and not self._is_on_queue(run, job):
                    self._compare(run, job)

    def reconcile_outcomes(self) -> None:
        """No task is a success whose job is none, nor the other way round, also where a run is over."""
        for run in self.runs:
            for job in run.jobs.values():
                if run.state in (None, "deleted") or self._is_on_queue(run, job):
                    continue
                if job.status in ("FAILED", "CANCELED", "BLOCKED") and job.task.state == "success":
                    self._set_task(run, job, "failed")
                elif job.status == "COMPLETED" and job.task.state in GIVEN_UP:
                    self._set_task(run, job, "success")

    def _is_on_queue(self, run: Run, job: Job) -> bool:
        return (run, job) in self.queue

    def _can_it_go_on(self, run: Run, job: Job) -> None:
        state = job.task.state
        if run.state == "deleted":
            self._cancel(run, job)  # its run is gone
        elif state == "upstream_failed":
            # All that it waits for is COMPLETED: Airflow is wrong.
            for other in run.jobs.values():
                if other.status == "COMPLETED" and other.task.state != "success":
                    self._set_task(run, other, "success")
            later = [other for other in run.jobs.values() if other.status == "PENDING"]
            self._clear(run, [job, *later])
        elif state == "success":
            self._cancel(run, job)  # marked by a user: nothing was produced
            self._set_task(run, job, "failed")
        elif state in OVER or (state is None and run.state not in ("queued", "running")):
            self._cancel(run, job)  # ended by a user

    def _compare(self, run: Run, job: Job) -> None:
        state = job.task.state
        if job.status == "COMPLETED" and (state in GIVEN_UP or state in WAITING):
            self._set_task(run, job, "success")
        elif job.status in ("FAILED", "CANCELED"):
            if state == "success":
                self._set_task(run, job, "failed")
            elif state not in OVER and self._was_cleared(job):
                self._requeue_cleared(run, job)
            elif state in WAITING:
                if job.tries and job.latest.own is None:
                    job.latest.own = job.task.identity
                self._set_task(run, job, "failed")
        elif job.status == "BLOCKED" and state == "success":
            self._set_task(run, job, "failed")
        elif job.status == "PENDING" and state in ("success", "failed", "skipped"):
            if job.task.ended >= job.waiting_since:
                self._cancel(run, job)
                if state == "success":
                    self._set_task(run, job, "failed")
            else:
                self._clear(run, [job])

    def _set_task(self, run: Run, job: Job, state: str) -> None:
        self._end_task(job, state)
        self._look_again(run)

    def _clear(self, run: Run, jobs: Iterable[Job]) -> None:
        """Let Airflow run tasks again, or for the first time; what of them still runs is over."""
        again = [job for job in jobs if job.task.state is not None]
        for job in again:
            job.task.identity += 1
            job.task.state = None
            job.task.cleared.append(job.task.identity)
        if again:
            self._look_again(run)

    def _look_again(self, run: Run) -> None:
        if run.state in ("success", "failed"):
            run.state = "queued"
