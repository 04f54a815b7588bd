# SPDX-License-Identifier: Apache-2.0
"""Crash points: nothing happens without a folder; with one, exactly one process dies at an armed point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from docs.crash_points_page import _literal, crash_points
from scale_airflow import crash_points as points

_PROGRAM = "from scale_airflow.crash_points import reach\nreach('a.before')\nreach('a.after')\nprint('alive')"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / points.ARMED).mkdir()
    (tmp_path / points.PASSED).mkdir()
    return tmp_path


def started(folder: Path | None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != points.VARIABLE}
    if folder is not None:
        environment[points.VARIABLE] = str(folder)
    return subprocess.Popen([sys.executable, "-c", _PROGRAM], env=environment, stdout=-1, text=True)


def test_nothing_happens_without_a_folder() -> None:
    process = started(None)
    assert process.communicate() == ("alive\n", None)
    assert process.returncode == 0


def test_what_is_not_armed_is_passed_and_noted(folder: Path) -> None:
    process = started(folder)
    assert process.communicate()[0] == "alive\n"
    assert sorted(os.listdir(folder / points.PASSED)) == ["a.after", "a.before"]
    assert not (folder / points.HITS).exists()


def test_exactly_one_process_dies_at_an_armed_point(folder: Path) -> None:
    (folder / points.ARMED / "a.after").touch()
    processes = [started(folder) for _ in range(4)]
    outputs = [process.communicate()[0] for process in processes]
    (dead,) = [process for process in processes if process.returncode == -signal.SIGKILL]
    assert sorted(outputs) == ["", "alive\n", "alive\n", "alive\n"]
    (hit,) = [json.loads(line) for line in (folder / points.HITS).read_text().splitlines()]
    assert (hit["name"], hit["pid"]) == ("a.after", dead.pid)
    assert not (folder / points.ARMED / "a.after").exists()


def test_a_folder_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    process = started(tmp_path / "gone")
    assert process.communicate()[0] == "alive\n"


def test_names_are_unique_and_plain() -> None:
    names = [point.name for point in crash_points()]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name in names if not all(part.isidentifier() for part in name.split("."))] == []
    assert len(names) > 150


def test_a_name_that_is_no_literal_is_refused() -> None:
    import ast

    with pytest.raises(ValueError, match="module_x, line 1: the name of a crash point must be a literal"):
        _literal(ast.parse("reach(name)", mode="eval").body.args[0], "module_x")  # type: ignore[attr-defined]


def test_every_point_is_somebody_s_and_what_leads_to_points_leads_to_some() -> None:
    from unittest.mock import MagicMock

    from tests.crash import aim
    from tests.crash.asked import LONG
    from tests.crash.workload import Workload

    names = [point.name for point in crash_points()]
    assert {aim.process_at(name) for name in names} == set(aim.TOGETHER)
    assert {helper for helpers in aim.HELPERS.values() for helper in helpers} <= set(names)
    errands = Workload(1, LONG, MagicMock()).errands
    assert errands is not None
    starts = [*aim.HELPERS, *errands.starts()]
    assert [start for start in starts if not any(name.startswith(start) for name in names)] == []
