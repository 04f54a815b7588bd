# SPDX-License-Identifier: Apache-2.0
"""What goes into Airflow next: the urgent within one window, however much waits that can't start."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.orm import Session
from world import World, interface

from scale_airflow.services import dispatch
from scale_airflow.services.events import user_event
from scale_airflow.services.housekeeping import hide_old_revisions, show_cleared_revisions
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job, queue_recipe
from scale_airflow.services.queue_status import queue_status
from scale_airflow.services.reconcile import reconcile
from scale_airflow.services.requeue import requeue_jobs
from scale_airflow.services.scheduler import sign_tick
from scale_airflow.services.work_lists import JobFilter
from scale_airflow.store.models import Job, JobExecution, JobType, Node, QueueEntry, Recipe, RecipeType

MANY = 100_000
#: Rows that one statement may look at: a few windows' worth, of a hundred thousand.
FEW = 1500


@pytest.fixture
def world(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    # However slow the machine is, nobody falls silent while a test goes on.
    monkeypatch.setenv("AIRFLOW__SCALE__AGENT_BEAT_INTERVAL", "60")
    for name in ("_ASKS_AGAIN", "RESERVATION"):
        monkeypatch.setattr(f"scale_airflow.services.room.{name}", timedelta(hours=1))
    made = World(session)
    made.install(tmp_path)
    return made


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("AIRFLOW__SCALE__DISPATCH_WINDOW", "4")
    return 4


def plain(world: World, name: str, **fields: Any) -> JobType:
    """A job type without inputs and outputs."""
    return world.job_type(name, interface({}, {}), **fields)


def queue(world: World, job_type: JobType, **options: Any) -> Job:
    event_ = user_event(world.session, "me")
    job = queue_job(world.session, job_type=job_type, data={}, event=event_, **options)
    world.session.commit()
    return job


def steps(world: World, name: str, first: str, second: str) -> RecipeType:
    jobs = [
        {"name": "first", "job_type": {"name": first, "version": "1.0"}},
        {
            "name": "second",
            "job_type": {"name": second, "version": "1.0"},
            "dependencies": [{"name": "first"}],
        },
    ]
    return world.recipe_type(name, jobs)


def queue_steps(world: World, recipe_type: RecipeType, **options: Any) -> dict[str, Job]:
    scene = {"name": "scene", "file_id": world.source().id}
    recipe = queue_recipe(
        world.session,
        recipe_type=recipe_type,
        data={"input_data": [scene]},
        event=user_event(world.session, "me"),
        **options,
    )
    world.session.commit()
    return {str(job.recipe_job_name): job for job in recipe.jobs}


def dispatched(world: World, *jobs: Job) -> list[bool]:
    return [world.reload(job).dispatched is not None for job in jobs]


def change(world: World, job_type: JobType, **columns: Any) -> None:
    world.session.execute(update(JobType).where(JobType.id == job_type.id).values(columns))
    world.session.commit()


def test_runs_that_all_wait_for_a_paused_type_let_the_rest_go_on_past_the_cap(
    world: World, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_ACTIVE_RUNS_TOTAL", "6")
    quick, paused = plain(world, "quick"), plain(world, "paused")
    recipe_type = steps(world, "two steps", "quick", "paused")
    change(world, paused, is_paused=True)
    recipes = [queue_steps(world, recipe_type, priority=1) for _ in range(10)]
    other = queue(world, quick)
    for _ in range(8):
        world.dispatch()
        for jobs in recipes:
            if world.reload(jobs["first"]).dispatched and jobs["first"].status == "QUEUED":
                world.run(jobs["first"])
    held = [jobs["second"] for jobs in recipes if world.reload(jobs["second"]).status == "QUEUED"]
    assert len(held) == 6, "no more than the cap wait in Airflow for the paused type"
    assert dispatched(world, other) == [True]
    world.run(other)
    lone = [queue(world, quick) for _ in range(10)]
    for number in range(0, 10, 4):
        world.dispatch()
        assert sum(dispatched(world, *lone)) == min(number + window, 10), "still no more than a window"
        for job in lone:
            if world.reload(job).dispatched and job.status == "QUEUED":
                world.run(job)
    change(world, paused, is_paused=False)
    world.run(held[0])
    for job in held[1:]:
        world.run(job)
    assert world.dispatch() == 4, "the other recipes go on"


def test_the_cap_holds_where_it_is_below_the_window(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_ACTIVE_RUNS_TOTAL", "2")
    job_type = plain(world, "one")
    for _ in range(4):
        queue(world, job_type)
    assert (world.dispatch(), world.dispatch()) == (2, 0)


def test_jobs_too_large_for_every_node_leave_the_window_to_others(
    world: World, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SCALE__MAX_ACTIVE_RUNS_TOTAL", "6")
    world.beat(cpus=2.0)
    huge, small = plain(world, "huge", cpus_required=64.0), plain(world, "small", cpus_required=1.0)
    giants = [queue(world, huge, priority=1) for _ in range(10)]
    others = [queue(world, small) for _ in range(8)]
    while world.dispatch():
        pass
    assert sum(dispatched(world, *giants)) == 6, "as many as the cap takes"
    assert sum(dispatched(world, *others)) == 4, "a window of them"
    world.run(others[0])
    assert world.dispatch() == 1
    assert sum(dispatched(world, *others)) == 5
    world.beat(agent="agent-2", host="worker-2", cpus=64.0)
    assert world.dispatch() == 0, "with a node for them, those that are in Airflow fill the window"


def test_while_no_node_works_the_window_is_the_window(world: World, window: int) -> None:
    world.session.execute(update(Node).values(is_paused=True))
    world.session.commit()
    job_type = plain(world, "one")
    for _ in range(6):
        queue(world, job_type)
    assert (world.dispatch(), world.dispatch()) == (window, 0)


def test_max_scheduled_counts_recipes_and_single_jobs_together(world: World) -> None:
    scarce = plain(world, "scarce", max_scheduled=3)
    plain(world, "quick")
    world.beat(cpus=64.0)
    recipe_type = steps(world, "two steps", "quick", "scarce")
    recipes = [queue_steps(world, recipe_type) for _ in range(4)]
    lone = [queue(world, scarce) for _ in range(4)]
    wanted = [*lone, *(jobs["second"] for jobs in recipes)]
    running: dict[int, Any] = {}
    most = 0
    for _ in range(12):
        world.dispatch()
        for jobs in recipes:
            first = world.reload(jobs["first"])
            if first.dispatched and first.status == "QUEUED":
                world.run(first)
        for job in wanted:
            if world.reload(job).dispatched and job.status == "QUEUED" and job.id not in running:
                answer = world.claim(job)
                if answer.order is not None:
                    running[job.id] = answer.order
                else:
                    assert "max_scheduled" in str(answer.reason)
        is_running = Job.status == "RUNNING", Job.job_type_id == scarce.id
        most = max(most, world.session.scalar(select(func.count()).where(*is_running)) or 0)
        assert most <= 3
        if running:
            done = next(iter(running))
            world.complete(running.pop(done))
            world.set_task_state(world.session.get_one(Job, done), "success")
        if all(world.reload(job).status == "COMPLETED" for job in wanted):
            break
    assert most == 3
    assert {world.reload(job).status for job in wanted} == {"COMPLETED"}


def test_an_urgent_job_waits_for_one_window_at_most(world: World, window: int) -> None:
    job_type = plain(world, "one", cpus_required=8.0)
    ordinary = [queue(world, job_type) for _ in range(3 * window)]
    world.dispatch()
    assert world.claim(ordinary[0]).answer == "go"
    urgent = queue(world, job_type, priority=1)
    ended = 0
    for job in ordinary:
        # One after the other ends; what is in Airflow asks for its room in any order.
        world.dispatch()
        if dispatched(world, urgent) == [True]:
            break
        world.complete(order_of(world, job))
        world.set_task_state(job, "success")
        ended += 1
        for other in ordinary[ended:]:
            if dispatched(world, other) == [True] and world.claim(other).answer == "go":
                break
    assert dispatched(world, urgent) == [True]
    assert ended <= 1, "the first place in the window is the urgent one's"
    running = next(job for job in ordinary if world.reload(job).status == "RUNNING")
    for other in ordinary[ended:]:
        if dispatched(world, other) == [True] and other is not running:
            assert world.claim(other).answer == "wait"
    assert world.claim(urgent).answer == "wait"
    world.complete(order_of(world, running))
    for other in reversed(ordinary[ended:]):
        if dispatched(world, other) == [True] and world.reload(other).status == "QUEUED":
            assert world.claim(other).answer == "wait", "whoever asks first"
    assert world.claim(urgent).answer == "go"


def test_a_requeue_with_another_priority_changes_the_order(world: World, window: int) -> None:
    job_type = plain(world, "one")
    jobs = [queue(world, job_type) for _ in range(window + 3)]
    world.dispatch()
    *_, last = jobs
    cancel_job(world.session, last.id)
    requeue_jobs(world.session, JobFilter(job_ids=[last.id]), priority=1)
    world.session.commit()
    world.run(jobs[0])
    assert world.dispatch() == 1
    assert dispatched(world, *jobs[window:]) == [False, False, True]
    assert world.task(last).priority_weight > world.task(jobs[1]).priority_weight


def order_of(world: World, job: Job) -> Any:
    """The order of a running job, whose task claims it anew."""
    order = world.claim(job).order
    assert order is not None
    return order


class TestLongQueue:
    """A hundred thousand entries of a paused type, all of them more urgent than what can run."""

    @pytest.fixture
    def long_queue(self, world: World) -> World:
        """60,000 recipes that begin with a paused type and 40,000 jobs of another, before ten of a third."""
        paused, also = plain(world, "paused"), plain(world, "paused too")
        plain(world, "later")
        free = plain(world, "free")
        recipe_type = steps(world, "held up", "paused", "later")
        queue_steps(world, recipe_type, priority=1)
        queue(world, also, priority=1)
        multiply(world.session, MANY * 6 // 10, MANY * 4 // 10)
        for _ in range(10):
            queue(world, free)
        for job_type in (paused, also):
            change(world, job_type, is_paused=True)
        # As autovacuum does within a minute.
        world.session.execute(text("ANALYZE scale_job, scale_job_execution, scale_queue_entry, scale_recipe"))
        world.session.commit()
        return world

    def test_a_tick_looks_at_a_window_of_it(self, long_queue: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world = long_queue
        assert world.session.scalar(select(func.count()).select_from(QueueEntry)) == MANY + 12
        statements = recorded(world.session, lambda: world.dispatch())
        in_airflow = select(JobType.name, func.count()).join(Job).where(Job.dispatched.is_not(None))
        assert world.session.execute(in_airflow.group_by(JobType.name)).all() == [("free", 10)]
        statements |= recorded(world.session, lambda: world.dispatch())
        statements |= recorded(world.session, lambda: reconcile(world.session))
        statements |= recorded(world.session, lambda: show_cleared_revisions(world.session))
        statements |= recorded(world.session, lambda: hide_old_revisions(world.session))
        statements |= recorded(world.session, lambda: sign_tick(world.session))
        world.session.commit()
        assert len(statements) > 20
        assert not costly(world.session, statements)
        (held, also, _) = sorted(queue_status(world.session), key=lambda each: -each.waiting)
        assert (held.waiting, also.waiting) == (MANY * 6 // 10 + 1, MANY * 4 // 10 + 1)
        assert (held.is_job_type_paused, held.highest_priority) == (True, 1)
        # And when all of it may start.
        world.session.execute(update(JobType).values(is_paused=False))
        world.session.commit()
        monkeypatch.setenv("AIRFLOW__SCALE__DISPATCH_WINDOW", "14")
        statements = recorded(world.session, lambda: world.dispatch())
        in_airflow = select(func.count()).where(Job.dispatched.is_not(None), Job.status == "QUEUED")
        assert world.session.scalar(in_airflow) == 14
        assert not costly(world.session, statements)


def multiply(session: Session, recipes: int, jobs: int) -> None:
    """Make so many more of the one recipe, with its first job, and of the one job that are queued."""
    recipe = session.scalars(select(Recipe)).one()
    (first,) = (job for job in recipe.jobs if job.status == "QUEUED")
    lone = session.scalars(select(Job).where(Job.recipe_id.is_(None))).one()
    # Foreign keys need no check here; the triggers of the tally are left out as well.
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(
        text(
            f"INSERT INTO scale_recipe (id, {columns(Recipe)}) OVERRIDING SYSTEM VALUE "
            f"SELECT 1000000 + number, {columns(Recipe)} FROM scale_recipe, generate_series(1, :count) number"
        ),
        {"count": recipes},
    )
    for job, offset, count in ((first, 1_000_000, recipes), (lone, 2_000_000, jobs)):
        recipe_id = "recipe_id" if job is lone else f"{offset} + number"
        kept = columns(Job, "recipe_id")
        session.execute(
            text(
                f"INSERT INTO scale_job (id, recipe_id, {kept}) OVERRIDING SYSTEM VALUE "
                f"SELECT {offset} + number, {recipe_id}, {kept} FROM scale_job, "
                "generate_series(1, :count) number WHERE scale_job.id = :id"
            ),
            {"count": count, "id": job.id},
        )
        kept = columns(JobExecution, "job_id")
        session.execute(
            text(
                f"INSERT INTO scale_job_execution (job_id, {kept}) SELECT {offset} + number, {kept} "
                "FROM scale_job_execution, generate_series(1, :count) number WHERE job_id = :id"
            ),
            {"count": count, "id": job.id},
        )
        name = "job_id" if job is lone else "recipe_id"
        kept = columns(QueueEntry, "job_id", "recipe_id", "kind")
        session.execute(
            text(
                f"INSERT INTO scale_queue_entry ({name}, {kept}) SELECT {offset} + number, {kept} "
                f"FROM scale_queue_entry, generate_series(1, :count) number WHERE {name} = :id"
            ),
            {"count": count, "id": job.id if job is lone else recipe.id},
        )
    session.execute(text("DELETE FROM scale_job_tally"))
    tally = "SELECT job_type_id, status, count(*) FROM scale_job GROUP BY job_type_id, status"
    session.execute(text(f"INSERT INTO scale_job_tally (job_type_id, status, amount) {tally}"))
    session.commit()


def columns(model: Any, *without: str) -> str:
    return ", ".join(each.name for each in model.__table__.columns if each.name not in ("id", *without))


def recorded(session: Session, action: Any) -> dict[str, Any]:
    """Run an action and return the statements that it sends, each with parameters of one time."""
    sent: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.split(None, 1)[0] in ("SELECT", "WITH", "UPDATE", "DELETE"):
            sent.setdefault(statement, parameters)

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        action()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent


def costly(session: Session, statements: dict[str, Any]) -> dict[str, int]:
    """Return the statements that look at many rows, and at how many."""
    looked_at = {each: rows_looked_at(session, each, given) for each, given in statements.items()}
    return {statement: rows for statement, rows in looked_at.items() if rows > FEW}


def rows_looked_at(session: Session, statement: str, parameters: Any) -> int:
    """Return how many rows a statement reads, by its plan as PostgreSQL carries it out."""
    with session.begin_nested() as savepoint:
        explained = session.connection().exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}",
            parameters[0] if isinstance(parameters, list) else parameters,
        )
        plan = explained.scalar_one()
        savepoint.rollback()
    return reads(json.loads(plan)[0]["Plan"] if isinstance(plan, str) else plan[0]["Plan"])


def reads(node: dict[str, Any]) -> int:
    total = sum(reads(each) for each in node.get("Plans", ()))
    if "Scan" in node["Node Type"] and node["Node Type"] not in ("CTE Scan", "WorkTable Scan"):
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        total += int((rows + node.get("Rows Removed by Index Recheck", 0)) * node["Actual Loops"])
    return total


def test_dispatch_takes_a_batch_in_one_transaction(world: World) -> None:
    job_type = plain(world, "one")
    for _ in range(dispatch.BATCH + 1):
        queue(world, job_type)
    assert (world.dispatch(), world.dispatch()) == (dispatch.BATCH, 1)
