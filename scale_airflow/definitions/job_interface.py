# SPDX-License-Identifier: Apache-2.0
"""The job interface: command line, inputs and outputs of an algorithm (specification: Job Interface)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.definitions import media_types
from scale_airflow.definitions.command_line import OUTPUT_DIRECTORY, CommandTemplate, split_words
from scale_airflow.definitions.documents import check_unique, rows, structure, text_of
from scale_airflow.definitions.faults import Faults, quote

KIND = "job-interface"


@dataclass(frozen=True, slots=True)
class InterfaceInput:
    """An input of a job or recipe; ``type`` is ``property``, ``file`` or ``files``."""

    name: str
    type: str
    required: bool = True
    media_types: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> InterfaceInput:
        """Build the input from its valid JSON object."""
        return cls(row["name"], row["type"], row.get("required", True), tuple(row.get("media_types", ())))

    def accepts(self, media_type: str) -> bool:
        """Say whether a file of this media type may be passed to the input."""
        return (
            not self.media_types or media_type in self.media_types or media_types.UNKNOWN in self.media_types
        )


@dataclass(frozen=True, slots=True)
class InterfaceOutput:
    """An output of a job, ``file`` or ``files``; without a ``media_type`` the file's extension says it."""

    name: str
    type: str
    required: bool = True
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class SharedResource:
    """A resource that the algorithm needs from its surroundings; kept, not interpreted."""

    name: str
    type: str
    required: bool = True


@dataclass(frozen=True)
class JobInterface:
    """How an algorithm is run, what it receives and what it produces."""

    version: str
    command: str
    command_arguments: str
    inputs: tuple[InterfaceInput, ...]
    outputs: tuple[InterfaceOutput, ...]
    shared_resources: tuple[SharedResource, ...]
    document: Mapping[str, Any] = field(repr=False)
    template: CommandTemplate = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> JobInterface:
        """Read a job interface.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document)
        template = CommandTemplate.read(
            text_of(document, "command_arguments") or "", faults, "/command_arguments"
        )
        _check_names(document, template, faults)
        _check_command(document, faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        return cls(
            version=document.get("version", "1.0"),
            command=document["command"],
            command_arguments=document["command_arguments"],
            inputs=tuple(InterfaceInput.of(row) for row in document.get("input_data", ())),
            outputs=tuple(
                InterfaceOutput(
                    row["name"], row["type"], row.get("required", True), row.get("media_type") or None
                )
                for row in document.get("output_data", ())
            ),
            shared_resources=tuple(
                SharedResource(row["name"], row["type"], row.get("required", True))
                for row in document.get("shared_resources", ())
            ),
            document=document,
            template=template,
        )

    @functools.cached_property
    def _inputs_by_name(self) -> dict[str, InterfaceInput]:
        return {each.name: each for each in self.inputs}

    @functools.cached_property
    def _outputs_by_name(self) -> dict[str, InterfaceOutput]:
        return {each.name: each for each in self.outputs}

    def input(self, name: str) -> InterfaceInput | None:
        """Return the input with this name, or None."""
        return self._inputs_by_name.get(name)

    def output(self, name: str) -> InterfaceOutput | None:
        """Return the output with this name, or None."""
        return self._outputs_by_name.get(name)

    @property
    def command_words(self) -> list[str]:
        """The words of ``command``, in which nothing is substituted."""
        return split_words(self.command)


def _check_names(document: object, template: CommandTemplate, faults: Faults) -> None:
    """Check that names are unique and that the command line uses only names that exist."""

    def named(list_name: str) -> list[tuple[str, str | None]]:
        return [
            (f"/{list_name}/{index}/name", text_of(row, "name")) for index, row in rows(document, list_name)
        ]

    received = named("input_data") + named("shared_resources")
    check_unique(faults, "job-interface.duplicate-name", "input or shared resource", received)
    check_unique(faults, "job-interface.duplicate-name", "output", named("output_data"))
    input_names = {name for _, name in named("input_data") if name is not None}
    for place, name in named("output_data"):
        if name in input_names:
            message = (
                f"The name {quote(name)} is already the name of an input; inputs and outputs can't share one."
            )
            faults.add(place, "job-interface.input-output-clash", message)
    for place, name in named("input_data"):
        if name == OUTPUT_DIRECTORY:
            message = f"The name {quote(name)} is reserved: it stands for the directory of the output files."
            faults.add(place, "job-interface.reserved-name", message)
    known = input_names | {OUTPUT_DIRECTORY}
    for placeholder in template.placeholders():
        if placeholder.name not in known:
            message = f"The command line uses the input {quote(placeholder.name)}, which does not exist."
            rule = "job-interface.unknown-input"
            faults.add_unknown(
                "/command_arguments", rule, message, what="names", name=placeholder.name, known=known
            )


def _check_command(document: object, faults: Faults) -> None:
    try:
        split_words(text_of(document, "command") or "")
    except ValueError as error:
        faults.add("/command", "job-interface.command-quoting", str(error))
