# SPDX-License-Identifier: Apache-2.0
"""The command of a remote job: it lays out the inputs as Scale's algorithms expect them, runs the algorithm
without a shell's eyes on its arguments, and notes how that ended.

Rescale runs a job's command with bash, in a folder that nobody knows before. Inputs lie in it under the names
that they were uploaded with. Everything of ours that stands in the text is either a constant or was quoted.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends.base import JobRun
from scale_airflow.execution.command import build_arguments, build_argv, substitution_values

ENDING = "scale_ending.txt"
"""What the command leaves when the algorithm has ended: exit code, start, end (seconds), and the folder."""
STDOUT = "scale_stdout.log"
STDERR = "scale_stderr.log"
OUTPUT_DATA = "outputs/output_data"
_OUTPUT_WORK = "outputs/output_work"
_FOLDER = '"$SCALE_JOB_FOLDER"'
# No argument of a program can hold it.
_MARK = "\0"

# An input is no symbolic link: programs call their products after the file that they come to. And it stays
# under its other name, should Rescale start the command once more.
_BEGINNING = f"""\
SCALE_JOB_FOLDER=$(pwd -P)
rm -rf inputs outputs {ENDING} {ENDING}.new
mkdir -p inputs/input_data inputs/input_work {OUTPUT_DATA} {_OUTPUT_WORK} || exit 74
scale_place() {{ ln -- "$1" "$2" 2>/dev/null || cp -p -- "$1" "$2" || exit 74; }}
"""

# Rescale keeps what is new in the folder: not what it has as inputs, and what Docker would throw away.
_END = f"""\
scale_code=$?
cd "$SCALE_JOB_FOLDER" || exit 74
scale_ended=$(date +%s)
rm -rf inputs {_OUTPUT_WORK}
printf '%s\\n' "$scale_code" "$scale_started" "$scale_ended" "$SCALE_JOB_FOLDER" > {ENDING}.new &&
mv -f {ENDING}.new {ENDING}
tail -n 100 {STDOUT}
tail -n 100 {STDERR} >&2
exit "$scale_code"
"""


@dataclass(frozen=True, slots=True)
class RemoteInput:
    """An input file: the name that it has in the remote folder, and its place below that.

    :param name: as uploaded.
    :param place: relative, as Scale lays inputs out.
    """

    name: str
    place: PurePosixPath


@dataclass(frozen=True, slots=True)
class RemoteEnding:
    """How the algorithm ended; times in seconds of the remote clock."""

    exit_code: int
    started: float
    ended: float
    folder: str

    @classmethod
    def parse(cls, text: str) -> RemoteEnding | None:
        """Read what the command has left; None if it is not that."""
        lines = text.split("\n")
        try:
            code, started, ended = int(lines[0]), float(lines[1]), float(lines[2])
            return cls(code, started, ended, lines[3]) if lines[3].startswith("/") else None
        except (ValueError, IndexError):
            return None


def place_of(run: JobRun, target: object) -> PurePosixPath:
    """Return where an input lies below the job's folder, here and there."""
    return PurePosixPath(str(target)).relative_to(str(run.scratch.root))


def remote_command(run: JobRun, inputs: Sequence[RemoteInput], variables: Mapping[str, str]) -> str:
    """Return the text of the command that runs an execution's algorithm.

    :param variables: the environment; their values stand in the text, quoted.
    :raises ExecutionFailure: if the interface has no command, or something can't be said to a program.
    """
    argv = build_argv(run.interface, _arguments(run), has_entrypoint=False)
    if "=" in argv[0]:
        raise ExecutionFailure(f"The command {argv[0]!r} has a =, which env(1) would take for a variable.")
    settings = [_plain(f"{name}={value}") for name, value in variables.items()]
    lines = [
        f"# Execution {run.order.execution_id} of job {run.order.job_id} of Scale.",
        _BEGINNING.rstrip(),
        *(f"mkdir -p -- {_plain(folder)} || exit 74" for folder in _folders(inputs)),
        *(f"scale_place {_plain(each.name)} {_plain(str(each.place))}" for each in inputs),
        "scale_started=$(date +%s)",
        "(",
        f"cd {_FOLDER}/{_OUTPUT_WORK} || exit 74",
        # With env(1) no variable means anything to this shell.
        " ".join(["exec env --", *settings, *map(_quoted, argv)]),
        f") </dev/null >{STDOUT} 2>{STDERR}",
    ]
    return "\n".join(lines) + "\n" + _END


def _folders(inputs: Sequence[RemoteInput]) -> list[str]:
    return sorted({str(each.place.parent) for each in inputs})


def _arguments(run: JobRun) -> list[str]:
    """Return the arguments with a mark where the path of the job's folder belongs."""
    root = str(run.scratch.root)
    properties = {entry.name for entry in run.order.inputs if entry.type == "property"}
    values: dict[str, str | None] = {}
    for name, value in substitution_values(run.order, run.scratch, run.staged).items():
        if value is not None and _MARK in value:
            raise ExecutionFailure(
                f"The value of {name!r} has a NUL character, which no program can be given."
            )
        if value is not None and name not in properties:
            value = _MARK + value.removeprefix(root)
        values[name] = value
    return build_arguments(run.interface, values)


def _quoted(argument: str) -> str:
    """Quote an argument for bash; marks become the job's folder, which bash alone knows."""
    if _MARK not in argument:
        return shlex.quote(argument)
    return _FOLDER.join(shlex.quote(part) if part else "" for part in argument.split(_MARK))


def _plain(text: str) -> str:
    if _MARK in text:
        raise ExecutionFailure(
            f"{text.partition(_MARK)[0]!r}… has a NUL character, which no command can have."
        )
    return shlex.quote(text)
