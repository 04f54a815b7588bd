# SPDX-License-Identifier: Apache-2.0
"""How ``airflow rescale`` shows things: tables for people, JSON for programs, progress while it lasts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from scale_airflow.cli.session import show

Row = Mapping[str, Any]
# What a terminal would obey instead of showing: a job's name and log are other people's texts.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def clean(text: str) -> str:
    """Return a text without the characters that a terminal obeys; tabs and line ends stay."""
    return _CONTROLS.sub("", text)


def size(count: int | None) -> str:
    """Return a number of bytes as people read it."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def moment(value: datetime | None) -> str:
    """Return a time in UTC, to the second."""
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%SZ")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: times as in ISO 8601, amounts as numbers."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return float(value)
    return value


def present(
    rows: Sequence[Row],
    output: str,
    *,
    shown: Mapping[str, Callable[[Any], str]] | None = None,
    right: Sequence[str] = (),
    nothing: str = "Nothing found.",
) -> None:
    """Print rows in one of Airflow's forms of output.

    :param shown: how to write the values of a column in a table.
    :param right: columns that are set to the right.
    :param nothing: what to say instead of an empty table.
    """
    if output != "table":
        show([{name: plain(value) for name, value in row.items()} for row in rows], output)
    elif not rows:
        print(nothing, file=sys.stderr)
    else:
        _table(rows, shown or {}, right)


def _table(rows: Sequence[Row], shown: Mapping[str, Callable[[Any], str]], right: Sequence[str]) -> None:
    from airflow.cli.simple_table import AirflowConsole
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right" if name in right else "left")
    for row in rows:
        cells = [
            Text(clean(shown[name](value) if name in shown else "" if value is None else str(value)))
            for name, value in row.items()
        ]
        table.add_row(*cells)
    AirflowConsole().print(table)


@contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[Any], None]]:
    """Show the progress of a transfer on standard error; give what has to be called with it.

    Where standard error is no terminal, only the end is told.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    last: list[Any] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[files]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(verb, total=None, files="")

        def tell(progress: Any) -> None:
            last[:] = [progress]
            files = f"{progress.files_done} of {progress.files} files"
            bars.update(task, total=progress.total, completed=progress.total_done, files=files)

        yield tell
    if last:
        end = last[0]
        speed = f", {size(round(end.total_done / end.seconds))}/s" if end.seconds > 0 else ""
        count = f"{end.files_done} {'file' if end.files_done == 1 else 'files'}"
        print(f"{verb}: {count}, {size(end.total_done)} in {end.seconds:.1f} s{speed}", file=sys.stderr)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something is waited for, on standard error; give what has to be called with the news."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        told: list[str] = []

        def tell(news: str) -> None:
            if told != [news]:
                told[:] = [news]
                print(f"{what}: {clean(news)}", file=sys.stderr, flush=True)

        yield tell
        return
    with console.status(escape(what)) as status:
        yield lambda news: status.update(escape(f"{what}: {clean(news)}"))


def confirm(question: str) -> bool:
    """Ask the user for a yes.

    :raises InvalidRequest: if nobody is there to answer.
    """
    from scale_airflow.errors import InvalidRequest

    try:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return input().strip().casefold() in ("y", "yes")
    except EOFError:
        print(file=sys.stderr)
        raise InvalidRequest(
            "Nobody is there to confirm it: say --yes, or look first with --dry-run."
        ) from None
