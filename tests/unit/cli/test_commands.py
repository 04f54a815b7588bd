# SPDX-License-Identifier: Apache-2.0
"""The command group: complete, cheap to import, and every action can be loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scale_airflow.cli.commands import KINDS, get_commands
from scale_airflow.cli.documents import PARSERS, parser

WANTED = {
    *("init", "check", "apply", "validate", "import", "export", "compile", "node", "sync-perms"),
    *(
        "cancel",
        "requeue",
        "metrics",
        "countries",
        "rotate-secret",
        "token create",
        "token list",
        "token revoke",
    ),
}


def actions(commands: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for command in commands:
        name = f"{before}{command.name}"
        if hasattr(command, "subcommands"):
            yield from actions(command.subcommands, f"{name} ")
        else:
            yield name, command


def group() -> Any:
    (scale,) = get_commands()
    return scale


def test_the_group_has_every_action() -> None:
    assert {name for name, _ in actions(group().subcommands)} == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_an_action_explains_itself(name: str, scale: Callable[..., Any]) -> None:
    outcome = scale(*name.split(), "--help")
    assert outcome.code == 0
    assert dict(actions(group().subcommands))[name].help.split()[0] in outcome.out


@pytest.mark.parametrize("name", sorted(WANTED))
def test_an_action_has_its_function(name: str) -> None:
    command = dict(actions(group().subcommands))[name]
    closure = dict(zip(command.func.__code__.co_freevars, command.func.__closure__, strict=True))
    module, _, function = closure["import_path"].cell_contents.rpartition(".")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_every_airflow_command_may_import_the_group() -> None:
    heavy = (
        "{'scale_airflow.definitions', 'scale_airflow.store', 'scale_airflow.services', 'fastapi', 'docker'}"
    )
    code = (
        "import airflow.cli.cli_config, sys; before = set(sys.modules); import scale_airflow.cli.commands;"
        f"print(({heavy} | {{'sqlalchemy'}}) & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_kind_of_document_has_a_reader() -> None:
    assert set(PARSERS) == set(KINDS)
    assert all(callable(parser(kind)) for kind in KINDS)
