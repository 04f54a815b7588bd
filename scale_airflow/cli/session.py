# SPDX-License-Identifier: Apache-2.0
"""What every action has around it: Scale's configuration loaded, errors without stack traces, output."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from scale_airflow.errors import InstallationError, InvalidDocument, InvalidRequest, ScaleApiError, ScaleError

Action = Callable[[Any], None]


def action(function: Action) -> Action:
    """Turn a function of the parsed arguments into an action of ``airflow scale`` whose output is its result.

    An error that a user can do something about becomes lines on standard error and exit code 1; anything
    else is a defect and keeps its stack trace. Log lines show with ``--verbose`` only.
    """
    return suppress_logs_and_warning(logging_action(function))


def logging_action(function: Action) -> Action:
    """Turn a function into an action whose log lines are what its user looks at."""

    @functools.wraps(function)
    def run(args: Any) -> None:
        try:
            providers_configuration_loaded(function)(args)
        except ScaleError as error:
            stop(*explain(error))
        except BrokenPipeError:
            # The reader of a pipe had enough: no reason to complain, here or when Python flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except Exception as error:
            told = _database_trouble(error)
            if told is None:
                raise
            stop(*told)

    return run


def explain(error: ScaleError) -> list[str]:
    """Return the lines that tell a user about an error: what, each fault with its place, what to do."""
    if isinstance(error, InvalidDocument):
        lines = [f"The {error.kind} is not valid:"]
        return lines + [f"  {fault.path or '/'}: {fault.message}" for fault in error.faults]
    if isinstance(error, InvalidRequest | ScaleApiError) and error.faults:
        return [str(error), *(f"  {fault.path or '/'}: {fault.message}" for fault in error.faults)]
    if isinstance(error, InstallationError):
        return [error.problem, error.remedy]
    return [str(error)]


def stop(*lines: str) -> NoReturn:
    """End with exit code 1 and these lines on standard error."""
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(1)


def _database_trouble(error: Exception) -> list[str] | None:
    from sqlalchemy.exc import OperationalError, ProgrammingError

    if isinstance(error, OperationalError):
        reason = str(error.orig).strip().splitlines()[0] if error.orig else "no reason given"
        return [
            f"Airflow's metadata database does not answer: {reason}",
            "Check [database] sql_alchemy_conn (`airflow config get-value database sql_alchemy_conn`) and "
            "that the server runs (`airflow db check`).",
        ]
    if isinstance(error, ProgrammingError) and getattr(error.orig, "pgcode", None) == "42P01":
        return [
            "Scale's tables are not in Airflow's metadata database.",
            "Run: airflow db migrate && airflow scale init",
        ]
    return None


def show(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Print rows as Airflow's own commands do: ``table``, ``json``, ``yaml`` or ``plain``."""
    if output == "json":
        # Airflow's own turns every number into a string.
        print(json.dumps(list(rows), indent=2, ensure_ascii=False))
        return
    from airflow.cli.simple_table import AirflowConsole

    AirflowConsole().print_as(data=[dict(row) for row in rows], output=output)


def load_auth_manager() -> None:
    """Load the auth manager that Airflow is configured with, as the API server does when it starts."""
    from airflow.api_fastapi.app import create_auth_manager

    create_auth_manager()


def read_text(name: str) -> str:
    """Read a file, or standard input for ``-``.

    :raises InvalidRequest: if it can't be read as UTF-8 text.
    """
    try:
        if name == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        with open(name, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise InvalidRequest(f"{name} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name} is not UTF-8 text: byte {error.start} is wrong.") from None
