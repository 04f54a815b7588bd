# SPDX-License-Identifier: Apache-2.0
"""Files that move, and files that no report has named: none is lost, none stays in two places or for nobody.

The agents' part is played with real files, and an agent may die before and after each step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from concurrency import at_once
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from world import AGENT, HOST, World, interface

from scale_airflow.errors import Conflict
from scale_airflow.execution.file_duties import (
    DutyAnswer,
    DutyOutcome,
    DutyRequest,
    DutyResult,
    SweepAnswer,
    SweepQuestion,
)
from scale_airflow.execution.file_work import FileWork, perform
from scale_airflow.execution.order import ExecutionOrder, ReportedParse
from scale_airflow.services import checks, file_duties, file_moves, ingest_plans, products
from scale_airflow.services.events import user_event
from scale_airflow.services.file_content import content_of
from scale_airflow.services.file_moves import plan_moves
from scale_airflow.services.file_paths import owned_paths
from scale_airflow.services.jobs import cancel_job
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import FileDuty, Ingest, Job, JobExecution, Node, ScaleFile, Strike, utcnow
from scale_airflow.store.session import transaction
from scale_airflow.workspaces.broker import PathTaken
from scale_airflow.workspaces.confined import MissingPath


class Killed(BaseException):
    """The agent's process was killed here."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def world(session: Session, root: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(root))
    made = World(session)
    made.install(root)
    return made


class Agent:
    """A node agent without HTTP: each call is a transaction; it may die at any numbered step."""

    def __init__(self, world: World, agent_id: str = AGENT, process: str = "p1"):
        self.world = world
        self.process = process
        self.agent_id = agent_id
        self.steps: list[str] = []
        self.dies_at: int | None = None
        self.work = FileWork(world.settings, lambda: self, agent_id)  # type: ignore[arg-type, return-value]
        self.work._process = process

    def reach(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) == self.dies_at:
            raise Killed(step)

    def run(self) -> None:
        """Do all that is due."""
        self.world.session.expire_all()
        self.work.round()
        self.world.session.expire_all()

    def file_duties(self, request: DutyRequest) -> Any:
        self.reach("before take")
        orders = file_duties.take(self.world.session, request, self.world.settings)
        self.world.session.commit()
        self.reach("after take")
        return DutyAnswer.from_dict(DutyAnswer(orders, 1.0).to_dict())

    def file_duty_result(self, result: DutyResult) -> None:
        self.reach("before result")
        file_duties.record(self.world.session, DutyResult.from_dict(result.to_dict()))
        self.world.session.commit()
        self.reach("after result")

    def file_duty_sweep(self, question: SweepQuestion) -> Any:
        self.reach("before question")
        remove = file_duties.choose(self.world.session, question)
        self.world.session.commit()
        self.reach("after question")
        return SweepAnswer(tuple(remove))

    def close(self) -> None:
        pass


def later(world: World) -> None:
    """Let so much time pass that everything is due and nobody holds anything."""
    world.session.execute(
        update(FileDuty).values(not_before=utcnow() - timedelta(seconds=1), held_until=None)
    )
    world.session.commit()


def settle(world: World) -> None:
    """Let agents work until nothing is left to do."""
    agent = Agent(world, process="settling")
    for _ in range(20):
        agent.run()
        if not duties(world):
            return
        later(world)
    raise AssertionError([(duty.kind, duty.path, duty.message) for duty in duties(world)])


def duties(world: World) -> list[FileDuty]:
    world.session.expire_all()
    return list(world.session.scalars(select(FileDuty).order_by(FileDuty.id)))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def stored_source(
    world: World, root: Path, name: str = "scene.zip", content: bytes = b"content"
) -> ScaleFile:
    source = world.source(name, checksum=hashlib.sha256(content).hexdigest())
    path = root / "raw" / source.file_path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return source


def queue(world: World, source: ScaleFile, name: str = "one", **fields: Any) -> Job:
    known = world.session.scalars(select(Job).join(Job.job_type).where(Job.job_type.has(name=name))).first()
    job_type = known.job_type if known is not None else world.job_type(name, **fields)
    data = {
        "input_data": [{"name": "input", "file_id": source.id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(world.session, job_type=job_type, data=data, event=user_event(world.session, "me"))
    world.session.commit()
    world.dispatch()
    return job


def started(world: World, job: Job) -> ExecutionOrder:
    order = world.claim(job).order
    assert order is not None
    return order


def parsed(folder: str | None, name: str = "scene.zip") -> ReportedParse:
    return ReportedParse(name, folder, (), None, None, None, None)


def parse(world: World, source: ScaleFile, folder: str, name: str = "one") -> Job:
    """Run a job that says where the source file belongs."""
    job = queue(world, source, name)
    order = started(world, job)
    assert world.complete(order, parse_results=(parsed(folder, source.file_name),)).decision == "done"
    world.set_task_state(job, "success")
    return job


def place(world: World, source: ScaleFile) -> str:
    world.session.expire_all()
    return world.session.get_one(ScaleFile, source.id).file_path


class TestMoves:
    def test_a_parsed_file_goes_where_the_job_says(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        old, identity = source.file_path, source.uuid
        parse(world, source, "by/country")
        assert place(world, source) == old, "the file is where its row says, until it is elsewhere"
        Agent(world).run()
        assert place(world, source) == "by/country/scene.zip"
        assert files_below(root / "raw") == sorted([old, "by/country/scene.zip"])
        settle(world)
        assert files_below(root / "raw") == ["by/country/scene.zip"]
        found = world.session.get_one(ScaleFile, source.id)
        assert (found.uuid, found.is_parsed, found.file_name) == (identity, True, "scene.zip")
        with content_of(found).open() as content:
            assert content.read() == b"content"

    def test_whoever_was_told_of_the_old_place_keeps_it(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        old = source.file_path
        reader = queue(world, source, "reader")
        late = queue(world, source, "late")
        order = started(world, reader)
        parse(world, source, "new")
        Agent(world).run()
        assert started(world, late).inputs[0].files[0].path == "new/scene.zip"
        world.session.execute(
            update(JobExecution)
            .where(JobExecution.job_id == late.id)
            .values(started=utcnow() + timedelta(minutes=5))
        )
        later(world)
        Agent(world).run()
        assert (root / "raw" / order.inputs[0].files[0].path).exists(), "its container reads there"
        assert world.complete(order).decision == "done"
        later(world)
        Agent(world).run()
        assert not (root / "raw" / old).exists()
        assert (root / "raw" / "new" / "scene.zip").exists()

    def test_a_workspace_that_lets_nothing_move(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        world.workspace("raw").is_move_enabled = False
        world.session.commit()
        job = parse(world, source, "new")
        assert duties(world) == []
        assert "does not let its files be moved" in world.execution(job).warnings[0]
        assert world.session.get_one(ScaleFile, source.id).is_parsed

    def test_a_failed_job_moves_nothing(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        job = queue(world, source, max_tries=1)
        order = started(world, job)
        answer = world.complete(order, files={}, parse_results=(parsed("new"),))
        assert answer.decision == "failed"
        assert [duty.kind for duty in duties(world)] == []
        settle(world)
        assert files_below(root / "raw") == [place(world, source)]

    def test_a_directory_that_is_none_fails_the_job(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        for folder in ("/etc", "../up", "a/../../b", "a\nb", "x" * 256, "a/" * 600, ""):
            job = queue(world, source, max_tries=1)
            order = started(world, job)
            assert world.complete(order, parse_results=(parsed(folder),)).decision == "failed", folder
            assert "/parse_results/0/new_workspace_path:" in str(world.execution(job).message)

    def test_a_path_that_is_taken_gets_a_folder_of_its_content(self, world: World, root: Path) -> None:
        first = stored_source(world, root, content=b"first")
        second = stored_source(world, root, content=b"second")
        prefix = hashlib.sha256(b"second").hexdigest()[:8]
        parse(world, first, "new")
        parse(world, second, "new")
        settle(world)
        assert place(world, first) == "new/scene.zip"
        assert place(world, second) == f"new/{prefix}/scene.zip"
        assert files_below(root / "raw") == sorted(["new/scene.zip", f"new/{prefix}/scene.zip"])
        parse(world, second, "new")
        assert duties(world) == [], "it is there already"

    def test_what_no_row_names_is_not_replaced(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        (root / "raw" / "new").mkdir()
        (root / "raw" / "new" / "scene.zip").write_text("somebody's own")
        parse(world, source, "new")
        settle(world)
        prefix = hashlib.sha256(b"content").hexdigest()[:8]
        assert place(world, source) == f"new/{prefix}/scene.zip"
        assert (root / "raw" / "new" / "scene.zip").read_text() == "somebody's own"
        assert (root / "raw" / "new" / prefix / "scene.zip").read_bytes() == b"content"

    def test_the_last_word_counts(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        parse(world, source, "first")
        agent = Agent(world)
        agent.dies_at = 3  # the file has its second name, and nobody knows
        with pytest.raises(Killed):
            agent.run()
        assert (root / "raw" / "first" / "scene.zip").exists()
        parse(world, source, "second")
        settle(world)
        assert place(world, source) == "second/scene.zip"
        assert files_below(root / "raw") == ["second/scene.zip"]

    def test_a_move_that_nobody_wants_any_more_changes_nothing(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        old = source.file_path
        parse(world, source, "new")
        (duty,) = duties(world)
        (order,) = file_duties.take(world.session, DutyRequest(AGENT, "p1"), world.settings)
        assert order.id == duty.id
        world.session.commit()
        parse(world, source, old.rpartition("/")[0])
        stale = DutyResult(AGENT, "p1", order.id, "done", None)
        file_duties.record(world.session, stale)
        world.session.commit()
        settle(world)
        assert files_below(root / "raw") == [old]
        assert place(world, source) == old

    def test_a_file_that_is_not_there_is_not_moved(self, world: World, root: Path) -> None:
        source = world.source()
        old = source.file_path
        parse(world, source, "new")
        settle(world)
        assert place(world, source) == old

    def test_nobody_else_takes_a_path_that_is_moved_to_or_from(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        old = source.file_path
        parse(world, source, "new")
        workspace = world.workspace("raw").id
        both = {old, "new/scene.zip"}
        for _ in range(2):
            assert owned_paths(world.session, workspace, both) == both
            Agent(world).run()
            later(world)
        assert not (root / "raw" / old).exists()
        assert owned_paths(world.session, workspace, both) == both, "a late agent may still come by"
        ingest = Ingest(workspace_id=workspace, file_name="scene.zip", file_path=old, checksum=None)
        hashed = ingest_plans.HashedFile(1, 3, "a" * 64)
        known = ingest_plans._Known.load(world.session, [(ingest, hashed)])
        world.session.expunge_all()
        assert known.path_for(ingest, hashed) == f"{old.rpartition('/')[0]}/{'a' * 8}/scene.zip"
        settle(world)
        assert owned_paths(world.session, workspace, both) == {"new/scene.zip"}

    def test_every_path_taken_leaves_the_file_where_it_is(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        digest = str(source.checksum)
        for folder in ("new", f"new/{digest[:8]}", f"new/{digest[:16]}", f"new/{digest}"):
            other = world.source()
            other.file_path = f"{folder}/scene.zip"
        world.session.commit()
        warnings = plan_moves(world.session, [(source, "new")], None)
        assert "other files have all its paths" in warnings[0]


KILLED_AT = range(1, 9)
_ROUND = ["before take", "after take"]
_RESULT = ["before result", "after result"]
STEPS_OF_A_MOVE = [*_ROUND, *_RESULT, *_ROUND, *_ROUND, *_RESULT]


def die(agent: Agent) -> None:
    """Let an agent work, again and again, until it is killed."""
    for _ in range(4):
        try:
            agent.run()
        except Killed:
            return
        later(agent.world)
    raise AssertionError(agent.steps)


class TestDeaths:
    def test_a_move_survives_its_agent(self, world: World, root: Path) -> None:
        for step in KILLED_AT:
            source = stored_source(world, root, f"{step}.zip")
            parse(world, source, "new")
            agent = Agent(world, process=f"dies {step}")
            agent.dies_at = step
            die(agent)
            assert (root / "raw" / place(world, source)).read_bytes() == b"content"
            if step % 2:
                # The next process of the same agent need not wait until the dead one's time is up.
                Agent(world, process=f"follows {step}").run()
                assert (root / "raw" / place(world, source)).read_bytes() == b"content"
            settle(world)
            assert place(world, source) == f"new/{step}.zip"
            assert sorted(agent.steps) == sorted(STEPS_OF_A_MOVE[:step])
        assert files_below(root / "raw") == [f"new/{step}.zip" for step in KILLED_AT]

    def test_a_sweep_survives_its_agent(self, world: World, root: Path) -> None:
        for step in KILLED_AT:
            order = leave_behind(world, root, "a", "sub/b")
            world.fail(order, exit_code=1)
            agent = Agent(world, process=f"dies {step}")
            agent.dies_at = step
            die(agent)
            settle(world)
            assert files_below(root / "products") == []
            assert not (root / "products" / order.output_path).exists()

    def test_a_word_that_comes_too_late_changes_nothing(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        old = source.file_path
        parse(world, source, "new")
        (order,) = file_duties.take(world.session, DutyRequest(AGENT, "p1"), world.settings)
        world.session.commit()
        (again,) = file_duties.take(world.session, DutyRequest(AGENT, "p2"), world.settings)
        world.session.commit()
        assert again == order
        file_duties.record(world.session, DutyResult(AGENT, "p1", order.id, "done", None))
        world.session.commit()
        assert place(world, source) == old
        for number in (0, -1, 2**70, order.id + 1):
            file_duties.record(world.session, DutyResult(AGENT, "p2", number, "done", None))
        with pytest.raises(Conflict):
            file_duties.choose(world.session, SweepQuestion(AGENT, "p2", order.id, ("a",)))


def leave_behind(world: World, root: Path, *names: str, **fields: Any) -> ExecutionOrder:
    """Start a job and store files as its worker does, without a report."""
    job = queue(world, stored_source(world, root), **fields)
    order = started(world, job)
    store(root, order, *names)
    return order


def ingest_of(world: World, workspace_id: int, path: str) -> Ingest:
    """An ingest that is storing a file at a path of a workspace."""
    strike = Strike(name="incoming", configuration={}, dag_id="scale_strike.incoming")
    world.session.add(strike)
    world.session.flush()
    return Ingest(
        strike_id=strike.id,
        file_name=path.rpartition("/")[2],
        file_path=path,
        workspace_id=workspace_id,
        status="INGESTING",
        transfer_path="incoming",
    )


def store(root: Path, order: ExecutionOrder, *names: str) -> None:
    for name in names:
        path = root / "products" / order.output_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def job_of(world: World, order: ExecutionOrder) -> Job:
    return world.session.get_one(Job, order.job_id)


def claim_again(world: World, order: ExecutionOrder) -> ExecutionOrder:
    """The task died and its next try claims on the same host: the same execution goes on."""
    again = started(world, job_of(world, order))
    assert again.execution_id == order.execution_id
    return again


ENDS: dict[str, Callable[[World, ExecutionOrder], object]] = {
    "failed": lambda world, order: world.fail(order, exit_code=1),
    "retried": lambda world, order: world.fail(order, error="filesystem-io"),
    "canceled": lambda world, order: cancel_job(world.session, order.job_id),
    "wrong results": lambda world, order: world.complete(order, files={}),
}


class TestSweeps:
    def test_what_no_report_named_goes(self, world: World, root: Path) -> None:
        for end in ENDS.values():
            order = leave_behind(world, root, "output.dat", "sub/more", ".half.part")
            Agent(world).run()
            assert len(files_below(root / "products")) == 3, "a running execution is left alone"
            end(world, order)
            world.session.commit()
            Agent(world).run()
            assert files_below(root / "products") == []
            (duty,) = duties(world)
            assert duty.done is not None
            store(root, order, "late")  # a worker that was given up long ago went on for a while
            settle(world)
            assert files_below(root / "products") == []

    def test_a_completed_execution_is_left_in_peace(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "output.dat")
        assert world.complete(order).decision == "done"
        Agent(world).run()
        assert duties(world) == []
        assert files_below(root / "products") == [f"{order.output_path}/output.dat"]

    def test_of_two_workers_only_what_was_reported_stays(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "of_the_first")
        again = claim_again(world, order)
        store(root, again, "output.dat")
        assert world.complete(again).decision == "done"
        settle(world)
        assert files_below(root / "products") == [f"{order.output_path}/output.dat"]

    def test_the_products_of_another_try_are_its_own(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "output.dat")
        world.fail(order, error="filesystem-io")
        job = job_of(world, order)
        world.set_task_state(job, "up_for_retry")
        second = started(world, job)
        assert second.output_path != order.output_path
        store(root, second, "output.dat")
        assert world.complete(second).decision == "done"
        settle(world)
        assert files_below(root / "products") == [f"{second.output_path}/output.dat"]

    def test_what_belongs_to_others_stays(self, world: World, root: Path) -> None:
        order = leave_behind(world, root, "mine", "source", "on_its_way", "moving")
        workspace = world.workspace().id
        source = world.source("source")
        source.workspace_id, source.file_path = workspace, f"{order.output_path}/source"
        world.session.add(ingest_of(world, workspace, f"{order.output_path}/on_its_way"))
        moving = world.source("moving")
        moving.workspace_id = workspace
        world.session.commit()
        plan_moves(world.session, [(moving, order.output_path)], None)
        world.session.commit()
        world.fail(order, exit_code=1)
        Agent(world).run()
        left = files_below(root / "products" / order.output_path)
        assert left == ["moving", "on_its_way", "source"]

    def test_a_job_without_outputs_leaves_nothing(self, world: World, root: Path) -> None:
        source = stored_source(world, root)
        job_type = world.job_type("none", interface(outputs={}))
        data = {"input_data": [{"name": "input", "file_id": source.id}], "output_data": []}
        job = queue_job(world.session, job_type=job_type, data=data, event=user_event(world.session, "me"))
        world.session.commit()
        world.dispatch()
        world.fail(started(world, job), exit_code=1)
        assert file_duties.plan_sweeps(world.session) == 0


class TestWho:
    def test_the_node_that_ran_it_comes_first(self, world: World, root: Path) -> None:
        world.beat(agent="agent-2", host="worker-2")
        order = leave_behind(world, root, "a")
        world.fail(order, exit_code=1)
        Agent(world, "agent-2").run()
        assert files_below(root / "products") != []
        assert Agent(world, "agent-unknown").run() is None
        world.session.execute(
            update(Node).where(Node.hostname == HOST).values(last_offer=utcnow() - timedelta(hours=1))
        )
        world.session.commit()
        Agent(world, "agent-2").run()
        assert files_below(root / "products") == []

    def test_another_one_when_it_tries_in_vain(self, world: World, root: Path) -> None:
        world.beat(agent="agent-2", host="worker-2")
        order = leave_behind(world, root, "a")
        world.fail(order, exit_code=1)
        hidden = root / "hidden"
        (root / "products").rename(hidden)
        for _ in range(3):
            Agent(world).run()
            (duty,) = duties(world)
            assert "is not there" in str(duty.message)
            assert duty.not_before > utcnow()
            later(world)
        assert checks.check_files(world.session)[0].level == "ok", "it is too early to speak of it"
        world.session.execute(update(FileDuty).values(created=utcnow() - timedelta(minutes=5)))
        (finding,) = checks.check_files(world.session)
        assert finding.level == "warning"
        assert order.output_path in finding.problem
        hidden.rename(root / "products")
        Agent(world, "agent-2").run()
        assert files_below(root / "products") == []
        assert checks.check_files(world.session)[0].level == "ok"

    def test_pauses_grow_and_end(self) -> None:
        pauses = [file_duties.pause_after(tries).total_seconds() for tries in range(1, 60)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (10.0, 3600.0)


def test_agents_and_reports_at_the_same_time(
    world: World, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents that take and report, and jobs that send the same files elsewhere, never wait in a circle."""
    for module in (file_duties, file_moves):
        monkeypatch.setattr(module, "GRACE", timedelta(0))
    world.beat(cpus=100.0)
    sources = [stored_source(world, root, f"{number}.zip") for number in range(4)]
    reports = []
    for turn in range(4):
        for source in sources[:: 1 if turn % 2 else -1]:
            order = started(world, queue(world, source))
            reports.append((order.execution_id, parsed(f"place {turn}", source.file_name)))
    world.session.execute(update(JobExecution).values(status="COMPLETED"))
    world.session.commit()
    configured = world.settings

    def report(mine: Sequence[tuple[int, ReportedParse]]) -> None:
        for execution_id, result in mine:
            with transaction() as session:
                execution = session.get_one(JobExecution, execution_id)
                products.apply_parse_results(session, execution.job, execution, [result])

    def work(number: int) -> None:
        for turn in range(8):
            process = f"{number} {turn}"  # as if it had died, so that what it holds is free
            with transaction() as session:
                orders = file_duties.take(session, DutyRequest(AGENT, process), configured)
            for order in orders:
                outcome: DutyOutcome = "done"
                try:
                    perform(order, configured, lambda paths: ())
                except (MissingPath, PathTaken):
                    outcome = "missing"
                with transaction() as session:
                    file_duties.record(session, DutyResult(AGENT, process, order.id, outcome, None))

    outcomes = at_once(
        [partial(report, reports[start::3]) for start in range(3)] + [partial(work, n) for n in range(3)]
    )
    assert outcomes == [None] * 6
    settle(world)
    for source in sources:
        assert (root / "raw" / place(world, source)).read_bytes() == b"content"
        assert place(world, source).startswith("place ")
    assert len(files_below(root / "raw")) == len(sources)
