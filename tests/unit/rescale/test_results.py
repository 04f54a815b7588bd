# SPDX-License-Identifier: Apache-2.0
"""Which output files are wanted, and where those of several runs go."""

from __future__ import annotations

from typing import Any

import pytest

from scale_airflow.rescale.models import RemoteFile, Run
from scale_airflow.rescale.results import is_wanted, of_job


@pytest.mark.parametrize(
    ("only", "but", "wanted"),
    [
        ((), (), True),
        (("*.csv",), (), True),
        (("a.csv",), (), True),
        (("out/*",), (), True),
        (("*.png",), (), False),
        (("*.png", "*.csv"), (), True),
        ((), ("out/*",), False),
        (("*.csv",), ("a*",), False),
    ],
)
def test_patterns_are_of_paths_or_names(only: tuple[str, ...], but: tuple[str, ...], wanted: bool) -> None:
    assert is_wanted(RemoteFile("id", "a.csv", "out/a.csv"), only, but) is wanted


class Client:
    def __init__(self, runs: int):
        self.runs = [Run(str(number + 1)) for number in range(runs)]

    def all(self, call: Any) -> list[Any]:
        if call.path.endswith("/runs/"):
            return self.runs
        return [RemoteFile("file", "a.csv", "a.csv")]

    def pages(self, call: Any) -> list[Any]:
        run = call.path.split("/")[-3]
        return [RemoteFile(f"file-{run}", "a.csv", "out/a.csv")]


def test_files_of_one_run_keep_their_paths() -> None:
    found = of_job(Client(1), "job")  # type: ignore[arg-type]
    assert [file.id for file in found.files] == ["file"]
    assert found.name_of is None


def test_files_of_several_runs_have_folders_of_their_own() -> None:
    found = of_job(Client(2), "job", only=["*.csv"])  # type: ignore[arg-type]
    assert found.name_of is not None
    assert [found.name_of(file) for file in found.files] == ["run1/out/a.csv", "run2/out/a.csv"]
