# SPDX-License-Identifier: Apache-2.0
"""Files that move where a job says: none is lost, none stays in two places."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from file_agent import (
    Agent,
    Killed,
    duties,
    files_below,
    later,
    parse,
    parsed,
    place,
    queue,
    settle,
    stored_source,
)
from sqlalchemy import update
from work import started
from world import AGENT, World

from scale_airflow.execution.file_duties import DutyRequest, DutyResult
from scale_airflow.services import file_duties, ingest_plans
from scale_airflow.services.file_content import content_of
from scale_airflow.services.file_moves import plan_moves
from scale_airflow.services.file_paths import owned_paths
from scale_airflow.store.models import Ingest, JobExecution, ScaleFile, utcnow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


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
