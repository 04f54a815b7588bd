# SPDX-License-Identifier: Apache-2.0
"""The command line of a job, from its interface and the places of its inputs."""

from __future__ import annotations

from scale_airflow.definitions.command_line import OUTPUT_DIRECTORY
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.order import ExecutionOrder
from scale_airflow.execution.staging import Scratch, StagedInputs


def substitution_values(
    order: ExecutionOrder, scratch: Scratch, staged: StagedInputs
) -> dict[str, str | None]:
    """Return what each name in ``command_arguments`` stands for; None for an input that was not given.

    A property stands for its value, a file input for the path of its file, a files input for the path of
    the folder with its files (specification: Job Interface, ``command_arguments``).
    """
    values: dict[str, str | None] = {OUTPUT_DIRECTORY: str(scratch.output_data)}
    for entry in order.inputs:
        files = staged.by_input.get(entry.name, ())
        if entry.type == "property":
            values[entry.name] = entry.value
        elif not files:
            values[entry.name] = None
        elif entry.type == "files":
            values[entry.name] = str(scratch.input_data / entry.name)
        else:
            values[entry.name] = str(files[0].target)
    return values


def build_arguments(interface: JobInterface, values: dict[str, str | None]) -> list[str]:
    """Return ``command_arguments`` as single arguments, split first and substituted then."""
    return interface.template.render(values)


def shown_arguments(interface: JobInterface, values: dict[str, str | None]) -> str:
    """Return ``command_arguments`` as one text with its values, for people to read."""
    return interface.template.render_text(values)


def build_argv(interface: JobInterface, arguments: list[str], *, has_entrypoint: bool) -> list[str]:
    """Return what is handed to the container or process.

    With an image's ENTRYPOINT only the arguments, since real Scale images repeat the program in both;
    else the command and then the arguments.

    :raises ExecutionFailure: if the command is needed and empty.
    """
    if has_entrypoint:
        return list(arguments)
    words = interface.command_words
    if not words:
        raise ExecutionFailure("The job interface has an empty command, and the image has no ENTRYPOINT.")
    return [*words, *arguments]
