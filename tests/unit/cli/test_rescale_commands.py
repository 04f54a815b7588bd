# SPDX-License-Identifier: Apache-2.0
"""The command group ``airflow rescale``: complete, cheap to import, self-explaining; options are read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from airflow.cli import cli_parser

from scale_airflow.cli.rescale_commands import get_commands

WANTED = {
    *("jobs", "submit", "status", "logs", "download", "files", "coretypes"),
    *("upload", "analyses", "stop", "clusters"),
}


def commands() -> dict[str, Any]:
    group: Any = get_commands()[0]
    return {command.name: command for command in group.subcommands}


def test_the_group_has_every_action() -> None:
    assert set(commands()) == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_an_action_explains_itself_and_has_its_function(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands()[name]
    with pytest.raises(SystemExit) as end:
        cli_parser.get_parser().parse_args(["rescale", name, "--help"])
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(command.help.split()[:3]) in shown
    assert "--conn-id" in shown
    closure = dict(zip(command.func.__code__.co_freevars, command.func.__closure__, strict=True))
    module, _, function = closure["import_path"].cell_contents.rpartition(".")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_every_airflow_command_may_import_the_group() -> None:
    heavy = "{'httpx', 'rich', 'asyncssh', 'scale_airflow.rescale', 'scale_airflow.hooks', 'sqlalchemy'}"
    code = (
        "import airflow.cli.cli_config, sys; before = set(sys.modules);"
        "import scale_airflow.cli.rescale_commands;"
        f"print({heavy} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["submit", "--cores", "0"], "above zero"),
        (["submit", "--cores", "two"], "a whole number above zero is wanted, not 'two'"),
        (["submit", "--walltime", "1.5"], "a whole number above zero is wanted, not '1.5'"),
        (["submit", "--max-cost", "much"], "a number above zero is wanted, not 'much'"),
        (["submit", "--env", "A"], "NAME=VALUE"),
        (["submit", "--max-cost", "-1"], "above zero"),
        (["submit", "--max-cost", "nan"], "above zero"),
        (["jobs", "--status", "FAILED"], "invalid choice"),
        (["logs"], "required"),
    ],
)
def test_wrong_options_are_named(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli_parser.get_parser().parse_args(["rescale", *words])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_status_may_be_written_small() -> None:
    arguments = cli_parser.get_parser().parse_args(["rescale", "jobs", "--status", "executing"])
    assert arguments.status == "EXECUTING"
