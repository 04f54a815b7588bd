# SPDX-License-Identifier: Apache-2.0
"""Run ``airflow scale …`` in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def scale(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``airflow scale`` with these words; give its exit code and what it wrote."""
    from airflow.cli import cli_parser

    def run(*words: str) -> Outcome:
        code = 0
        capsys.readouterr()
        try:
            arguments = cli_parser.get_parser().parse_args(["scale", *words])
            arguments.func(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return run
