# SPDX-License-Identifier: Apache-2.0
"""Agents that move and remove files die at every step, take each other's place, and work at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from concurrency import at_once
from file_agent import (
    Agent,
    Killed,
    duties,
    files_below,
    later,
    leave_behind,
    parse,
    parsed,
    place,
    queue,
    settle,
    stored_source,
)
from sqlalchemy import update
from work import started
from world import AGENT, HOST, World

from scale_airflow.errors import Conflict
from scale_airflow.execution.file_duties import DutyOutcome, DutyRequest, DutyResult, SweepQuestion
from scale_airflow.execution.file_work import perform
from scale_airflow.execution.order import ReportedParse
from scale_airflow.services import checks, file_duties, file_moves, products
from scale_airflow.store.models import FileDuty, JobExecution, Node, utcnow
from scale_airflow.store.session import transaction
from scale_airflow.workspaces.broker import PathTaken
from scale_airflow.workspaces.confined import MissingPath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


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


class TestWho:
    def test_the_node_that_ran_it_comes_first(self, world: World, root: Path) -> None:
        world.beat(agent="agent-2", host="worker-2")
        order = leave_behind(world, root, "a")
        world.fail(order, exit_code=1)
        Agent(world, "agent-2").run()
        assert files_below(root / "products") != []
        assert Agent(world, "agent-unknown").run() is None
        world.session.execute(
            update(Node).where(Node.hostname == HOST).values(last_offer=utcnow() - timedelta(days=1))
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
