# SPDX-License-Identifier: Apache-2.0
"""Run several commands of ``airflow`` in one process: importing Airflow takes longer than any of them.

``python demo/commands.py`` reads a JSON array of argument lists from standard input, so that no password
shows in a list of processes.
"""

from __future__ import annotations

import json
import sys


def run(commands: list[list[str]]) -> int:
    """Run the commands one after the other; end with the first that fails, and its exit code."""
    from airflow.cli import cli_parser

    parser = cli_parser.get_parser()
    for command in commands:
        print(f"$ airflow {' '.join(_without_password(command))}", file=sys.stderr, flush=True)
        arguments = parser.parse_args(command)
        try:
            arguments.func(arguments)
        except SystemExit as end:
            if end.code:
                return end.code if isinstance(end.code, int) else 1
    return 0


def _without_password(command: list[str]) -> list[str]:
    return ["--password=***" if word.startswith("--password=") else word for word in command]


if __name__ == "__main__":
    sys.exit(run(json.load(sys.stdin)))
