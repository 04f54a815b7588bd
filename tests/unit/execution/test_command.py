# SPDX-License-Identifier: Apache-2.0
"""What a job's command line is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.execution.fake_runtime import make_order, stored_file

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.command import (
    build_arguments,
    build_argv,
    shown_arguments,
    substitution_values,
)
from scale_airflow.execution.order import OrderInput
from scale_airflow.execution.staging import Scratch, StagedFile, StagedInputs


@pytest.fixture
def parts(tmp_path: Path) -> tuple[JobInterface, dict[str, str | None]]:
    file = stored_file(tmp_path, "x y.txt")
    order = make_order(
        tmp_path,
        "'my program' run",
        '${f} ${-o :m} ${--p=:p} "a ${p} b" ${no} ${-x :no} ${job_output_dir}',
        inputs=(
            OrderInput("f", "file", None, (file,)),
            OrderInput("m", "files", None, (file,)),
            OrderInput("p", "property", "1 2;", ()),
            OrderInput("no", "file", None, ()),
        ),
    )
    scratch = Scratch(Path("/work"), 7)
    staged = StagedInputs(
        {
            name: (StagedFile(file, Path("/data/x y.txt"), scratch.input_data / name / "x y.txt"),)
            for name in ("f", "m")
        }
    )
    return JobInterface.parse(order.interface), substitution_values(order, scratch, staged)


def test_arguments(parts: tuple[JobInterface, dict[str, str | None]]) -> None:
    interface, values = parts
    assert build_arguments(interface, values) == [
        "/work/job_exe_7/inputs/input_data/f/x y.txt",
        "-o",
        "/work/job_exe_7/inputs/input_data/m",
        "--p=1 2;",
        "a 1 2; b",
        "/work/job_exe_7/outputs/output_data",
    ]


def test_what_people_read(parts: tuple[JobInterface, dict[str, str | None]]) -> None:
    shown = shown_arguments(*parts)
    assert "--p=1 2;" in shown
    assert "${" not in shown


def test_the_entrypoint_rule(parts: tuple[JobInterface, dict[str, str | None]]) -> None:
    interface, _ = parts
    assert build_argv(interface, ["a"], has_entrypoint=True) == ["a"]
    assert build_argv(interface, ["a"], has_entrypoint=False) == ["my program", "run", "a"]


def test_an_empty_command() -> None:
    interface = JobInterface.parse({"command": " ", "command_arguments": "x"})
    assert build_argv(interface, ["x"], has_entrypoint=True) == ["x"]
    with pytest.raises(ExecutionFailure, match="empty command"):
        build_argv(interface, ["x"], has_entrypoint=False)
