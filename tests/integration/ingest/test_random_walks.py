# SPDX-License-Identifier: Apache-2.0
"""Random walks: users drop, transfer and withdraw files while tasks run and are killed, in any order."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from strike_world import SUFFIX, Killed, StrikeWorld
from world import World

NAMES = st.sampled_from(["a.h5", "b.h5", "notes.txt"])
CONTENTS = st.sampled_from(["one", "two", "three"])
# None: the task is not killed; else at which of its points.
KILL = st.none() | st.integers(1, 40)


def walk_of(world: World, root: Path, monkeypatch: pytest.MonkeyPatch) -> type[RuleBasedStateMachine]:
    """Make the state machine; each walk has a Strike process of its own."""
    walks = iter(range(10_000))
    patched: list[Any] = []

    class Walk(RuleBasedStateMachine):
        inbox: StrikeWorld

        @initialize()
        def begin(self) -> None:
            self.inbox = StrikeWorld.make(world, root, f"walk-{next(walks)}")
            # Surrounded once: the points are where the walk of the moment finds them.
            if patched:
                self.inbox.points = patched[0]
            else:
                self.inbox.points.patch(monkeypatch)
                patched.append(self.inbox.points)

        @rule(name=NAMES, content=CONTENTS)
        def drop(self, name: str, content: str) -> None:
            # Names are told apart by walk: all walks share one workspace.
            self.inbox.drop(self.named(name), content)

        @rule(name=NAMES, content=CONTENTS)
        def begin_transfer(self, name: str, content: str) -> None:
            self.inbox.drop(self.named(name), content, suffix=SUFFIX)

        @rule(name=NAMES)
        def end_transfer(self, name: str) -> None:
            self.inbox.end_transfer(self.named(name))

        @rule(name=NAMES)
        def withdraw_transfer(self, name: str) -> None:
            (self.inbox.root / f"{self.named(name)}{SUFFIX}").unlink(missing_ok=True)

        @rule(number=KILL)
        def look(self, number: int | None) -> None:
            self.run(number, lambda: self.inbox.look())

        @rule(number=KILL)
        def ingest(self, number: int | None) -> None:
            self.run(number, lambda: self.inbox.ingest())

        @rule()
        def pass_time(self) -> None:
            self.inbox.let_time_pass()

        @invariant()
        def no_file_is_in_two_places(self) -> None:
            if not hasattr(self, "inbox"):
                return
            inodes = [
                path.stat().st_ino
                for folder in ((), ("ingesting",), ("deferred",), ("duplicate",))
                if (self.inbox.root / Path(*folder)).is_dir()
                for path in self.inbox.files(*folder)
            ]
            assert len(inodes) == len(set(inodes))

        def teardown(self) -> None:
            if hasattr(self, "inbox"):
                self.inbox.let_time_pass()
                self.inbox.settle()
                self.inbox.check()

        def named(self, name: str) -> str:
            return f"{self.inbox.root.name}-{name}"

        def run(self, number: int | None, task: Any) -> None:
            def kill(point: str, reached: int) -> None:
                if reached == number:
                    raise Killed(point)

            with self.inbox.points.acting(kill), suppress(Killed):
                task()

    return Walk


def test_random_walks(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        walk_of(world, tmp_path / "data", monkeypatch),
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            # A walk is quick to read and slow to take: making a failing one shorter would take an hour.
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
