# SPDX-License-Identifier: Apache-2.0
"""What a user sees of an error: lines, never a stack trace; a defect keeps its trace."""

from __future__ import annotations

import argparse

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from scale_airflow.cli.session import action, show
from scale_airflow.errors import Conflict, Fault, InstallationError, InvalidDocument, InvalidRequest

ARGUMENTS = argparse.Namespace(verbose=False)


class UndefinedTableError(Exception):
    pgcode = "42P01"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (Conflict("It runs."), ["It runs."]),
        (InstallationError("It is off.", "Switch it on."), ["It is off.", "Switch it on."]),
        (
            InvalidDocument("job data", [Fault("/a", "No."), Fault("", "Never.")]),
            ["The job data is not valid:", "  /a: No.", "  /: Never."],
        ),
        (InvalidRequest("Wrong.", [Fault("page", "Too low.")]), ["Wrong.", "  page: Too low."]),
        (
            OperationalError("SELECT 1", None, Exception("connection refused\nmore")),
            [
                "Airflow's metadata database does not answer: connection refused",
                "Check [database] sql_alchemy_conn (`airflow config get-value database sql_alchemy_conn`) "
                "and that the server runs (`airflow db check`).",
            ],
        ),
        (
            ProgrammingError("SELECT 1", None, UndefinedTableError()),
            [
                "Scale's tables are not in Airflow's metadata database.",
                "Run: airflow db migrate && airflow scale init",
            ],
        ),
    ],
)
def test_an_error_becomes_lines(
    error: Exception, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    @action
    def fail(args: object) -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        fail(ARGUMENTS)
    assert end.value.code == 1
    assert capsys.readouterr().err.splitlines() == lines


def test_a_defect_is_not_hidden() -> None:
    @action
    def fail(args: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(ARGUMENTS)


def test_json_keeps_numbers_and_letters(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"id": 3, "name": "Höhe"}], "json")
    assert capsys.readouterr().out == '[\n  {\n    "id": 3,\n    "name": "Höhe"\n  }\n]\n'
