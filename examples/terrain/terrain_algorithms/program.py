# SPDX-License-Identifier: Apache-2.0
"""What every program of the example does alike: read its arguments, and end with a code that has a meaning.

The codes are those of the job types' ``error_mapping`` in ``configuration.json``; Scale turns them into
named errors, and the error's category decides whether the job is tried again.
"""

from __future__ import annotations

import argparse
import enum
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn


class ExitCode(enum.IntEnum):
    """How a program ended; 1 is left to Python, which uses it for an exception nobody expected."""

    SUCCESS = 0
    BAD_ARCHIVE = 2
    BAD_GEOREFERENCE = 3
    BAD_IMAGE = 4
    NO_ELEVATION = 5
    WRONG_ARGUMENTS = 64
    FILE_SYSTEM = 74


class AlgorithmError(Exception):
    """The program can't make its product, for a reason its exit code and message tell."""

    def __init__(self, exit_code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser whose own exit code (2 by default) can't be taken for a broken archive."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line and end with code 64."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.WRONG_ARGUMENTS, f"{self.prog}: {message}\n")


def run(
    parser: ArgumentParser,
    work: Callable[[argparse.Namespace], None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Do a program's work and return its exit code; a failure is told on standard error in one line.

    An error of the file system (a full disk, a lost mount) gets a code of its own: it says nothing about
    the data, so the job types map it to an error of category SYSTEM, which Scale tries again.
    """
    try:
        options = parser.parse_args(arguments)
        work(options)
    except AlgorithmError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return int(error.exit_code)
    except OSError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return int(ExitCode.FILE_SYSTEM)
    return int(ExitCode.SUCCESS)


def existing_file(text: str) -> Path:
    """Take the path of an input file from the command line."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    return path.resolve()


def existing_folder(text: str) -> Path:
    """Take the path of the output folder from the command line."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder; it must exist before the program starts")
    return path.resolve()


def product_name(source: Path, ending: str) -> str:
    """Name a product after the file it is made from.

    Characters that are awkward in paths, URLs or the one-line ``ARTIFACT:`` form become ``_``.
    """
    return re.sub(r"[^\w.-]", "_", source.stem) + ending
