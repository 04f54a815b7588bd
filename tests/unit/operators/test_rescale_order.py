# SPDX-License-Identifier: Apache-2.0
"""What a task asks for: inputs, documents, results, and what is remembered."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from scale_airflow.errors import InvalidDocument, RescaleError
from scale_airflow.operators.rescale_inputs import JobInput, read_inputs
from scale_airflow.operators.rescale_memory import (
    TaskMemory,
    cleared_at,
    first_moment,
    is_last_try,
    marker_of,
)
from scale_airflow.operators.rescale_order import read_document
from scale_airflow.operators.rescale_results import chosen, shown
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.submission_steps import Memory


class TestInputs:
    def test_every_form(self):
        stored = ObjectStoragePath("s3://bucket/a")
        assert read_inputs(
            [
                "a.txt",
                Path("/b"),
                stored,
                {"path": "c", "decompress": False, "analysis": 2},
                {"id": "abc"},
                {"name": "d", "content": "text"},
                {"path": "e", "volumes": True},
            ]
        ) == [
            JobInput("a.txt", None),
            JobInput("/b", None),
            JobInput(stored, None),
            JobInput("c", None, decompress=False, analysis=2),
            JobInput(None, "abc"),
            JobInput(None, None, content="text", name="d"),
            JobInput("e", None, volumes=True),
        ]
        assert read_inputs(None) == []

    def test_every_fault(self):
        wrong: list[Any] = [
            3,
            {},
            {"path": "a", "id": "b"},
            {"path": "a", "x": 1},
            {"content": "a"},
            {"path": "a", "name": "b"},
            {"path": "a", "decompress": "no"},
            {"path": "a", "analysis": True},
            {"id": "a", "volumes": True},
        ]
        with pytest.raises(InvalidDocument) as caught:
            read_inputs([*wrong, "good"])
        assert [fault.path for fault in caught.value.faults] == [f"/inputs/{index}" for index in range(9)]


class TestDocument:
    def test_forms(self):
        assert read_document(None) == {}
        assert read_document({"name": "n"}) == {"name": "n"}
        assert read_document('{"name": "n"}') == {"name": "n"}
        assert read_document("name: n\njobanalyses: []") == {"name": "n", "jobanalyses": []}

    @pytest.mark.parametrize("text", ["[1]", "3", "a: [", ""])
    def test_what_is_no_object(self, text):
        if text == "":
            assert read_document(text) == {}
            return
        with pytest.raises(InvalidDocument, match="job"):
            read_document(text)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["a.txt", "deep/b.log", "c.bin"]),
        (["*.txt"], ["a.txt"]),
        (["b.log"], ["deep/b.log"]),
        (["deep/*"], ["deep/b.log"]),
        (["!*.bin"], ["a.txt", "deep/b.log"]),
        (["*", "!deep/*", "!a.*"], ["c.bin"]),
    ],
)
def test_filters(filters, names):
    files = [
        RemoteFile("1", "a.txt", "a.txt"),
        RemoteFile("2", "b.log", "deep/b.log"),
        RemoteFile("3", "c.bin", "c.bin"),
    ]
    assert [file.relative_path for file in files if chosen(file, filters)] == names


def test_the_list_for_xcom_is_short():
    files = [RemoteFile(str(number), "a", f"a{number}", size=2) for number in range(1000)]
    told = shown({"": files[:500], "run2": files[500:]})
    assert (told["file_count"], told["total_bytes"], len(told["files"])) == (1000, 2000, 200)
    assert told["files"][0] == {"id": "0", "path": "a0", "size": 2, "sha512": None}
    assert shown({"run2": files[:1]})["files"][0]["path"] == "run2/a0"


def context(try_number: int = 1, max_tries: int = 2, retries: int = 2, map_index: int = -1) -> Any:
    ti = SimpleNamespace(
        dag_id="d",
        run_id="r",
        task_id="t",
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries,
        task=SimpleNamespace(retries=retries),
    )
    return {"ti": ti}


class TestMemory:
    class Store(dict[str, Any]):
        lost = False

        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            if not self.lost:
                self[key] = value

    def test_what_is_remembered_is_recalled(self):
        memory = TaskMemory.of({**context(), "task_state_store": self.Store()})
        assert memory.recall() is None
        memory.remember(Memory("J1", failed="so"))
        assert memory.recall() == Memory("J1", failed="so")

    def test_what_is_not_there_after_all_is_an_error(self):
        store = self.Store()
        store.lost = True
        with pytest.raises(RescaleError, match="Another try"):
            TaskMemory(store).remember(Memory("J1"))

    def test_without_a_store_nothing_is_begun(self):
        with pytest.raises(RescaleError, match="durable=False"):
            TaskMemory.of(context())

    def test_clearing_is_told_from_trying_again(self):
        assert cleared_at(context(try_number=2)) == 0
        assert cleared_at(context(try_number=2, max_tries=3)) == 1
        assert not is_last_try(context(try_number=2))
        assert is_last_try(context(try_number=3))

    def test_markers_know_no_try(self):
        first, second = (marker_of(context(number), {}) for number in (1, 2))
        assert first == second
        assert marker_of(context(map_index=0), {}).key != first.key

    def test_the_first_moment_is_the_runs(self):
        early, late = (datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 2))
        run = SimpleNamespace(start_date=late, queued_at=early, run_after=None)
        assert first_moment({"dag_run": run}) == early  # type: ignore[typeddict-item]
        assert first_moment({}) is None  # type: ignore[typeddict-item]
