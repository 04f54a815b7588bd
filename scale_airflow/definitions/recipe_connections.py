# SPDX-License-Identifier: Apache-2.0
"""Check the connections of a recipe against the interfaces of its job types."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scale_airflow.definitions import media_types
from scale_airflow.definitions.faults import MAX_WARNINGS, Faults, quote, with_choice
from scale_airflow.definitions.job_interface import InterfaceInput, JobInterface
from scale_airflow.errors import DocumentWarning

if TYPE_CHECKING:
    from scale_airflow.definitions.recipe_definition import RecipeDefinition, RecipeJob


@dataclass(frozen=True, slots=True)
class _Source:
    """What is passed to a job's input: an output of ``job``, or an input of the recipe if that is None."""

    job: str | None
    name: str
    type: str
    required: bool
    media_types: tuple[str, ...]

    @property
    def called(self) -> str:
        """What it is, in a sentence."""
        if self.job is None:
            return f"recipe input {quote(self.name)}"
        return f"output {quote(self.name)} of the job {quote(self.job)}"


class _Warnings:
    """The warnings found so far: bounded in number, like faults."""

    def __init__(self) -> None:
        self.found: list[DocumentWarning] = []

    def add_unknown(
        self, identifier: str, details: str, what: str, name: str, known: Collection[str]
    ) -> None:
        if len(self.found) < MAX_WARNINGS:
            self.found.append(DocumentWarning(identifier, with_choice(details, what, name, known)))

    def add_media_type(self, wanted: InterfaceInput, media_type: str) -> None:
        if len(self.found) < MAX_WARNINGS:
            details = f"Invalid media type for data input: {wanted.name} -> {media_type}"
            self.found.append(DocumentWarning("media_type", details))


def check_connections(
    definition: RecipeDefinition, job_types: Mapping[tuple[str, str], JobInterface], faults: Faults
) -> list[DocumentWarning]:
    """Check every connection of a recipe; return warnings."""
    warnings = _Warnings()
    for index, job in enumerate(definition.jobs):
        interface = job_types.get(job.job_type)
        if interface is None:
            _unknown_job_type(job, f"/jobs/{index}/job_type", job_types, faults)
            continue
        inputs = {each.name: each for each in interface.inputs}
        connected: set[str] = set()
        for place, source, input_name in _sources(definition, job, f"/jobs/{index}", job_types, warnings):
            connected.add(input_name)
            if input_name not in inputs:
                details = f"The job {quote(job.name)} has no input {quote(input_name)}, so this is ignored."
                warnings.add_unknown("unknown_input", details, "inputs", input_name, inputs)
            elif source is not None:
                _check_source(inputs[input_name], source, place, faults, warnings)
        for each in interface.inputs:
            if each.required and each.name not in connected:
                message = f"Nothing is passed to the job's required input {quote(each.name)}."
                faults.add(f"/jobs/{index}", "recipe-definition.missing-input", message)
    return warnings.found


def _sources(
    definition: RecipeDefinition,
    job: RecipeJob,
    place: str,
    job_types: Mapping[tuple[str, str], JobInterface],
    warnings: _Warnings,
) -> Iterator[tuple[str, _Source | None, str]]:
    """Yield (pointer, source, job input); the source is None where the other job's type does not exist.

    A connection to an output that does not exist is left out: Scale ignores it, so a required input of it is
    not provided.
    """
    for index, (recipe_input, job_input) in enumerate(job.recipe_inputs):
        found = definition.input(recipe_input)
        if found is not None:
            source = _Source(None, found.name, found.type, found.required, found.media_types)
            yield f"{place}/recipe_inputs/{index}", source, job_input
    for index, dependency in enumerate(job.dependencies):
        interface = job_types.get(definition.job(dependency.name).job_type)
        for number, (output_name, job_input) in enumerate(dependency.connections):
            here = f"{place}/dependencies/{index}/connections/{number}"
            if interface is None:
                yield here, None, job_input
            elif (output := interface.output(output_name)) is not None:
                types = (output.media_type,) if output.media_type else ()
                source = _Source(dependency.name, output.name, output.type, output.required, types)
                yield here, source, job_input
            else:
                names = [each.name for each in interface.outputs]
                job_name, name = quote(dependency.name), quote(output_name)
                details = f"The job {job_name} has no output {name}, so this is ignored."
                warnings.add_unknown("unknown_output", details, "outputs", output_name, names)


def _check_source(
    wanted: InterfaceInput, source: _Source, place: str, faults: Faults, warnings: _Warnings
) -> None:
    """Check that a source may be passed to an input; media types that do not match give warnings only."""
    if wanted.required and not source.required:
        name = quote(wanted.name)
        message = f"The input {name} is required, but the {source.called} is optional and may be missing."
        faults.add(place, "recipe-definition.optional-to-required", message)
    if "property" in (wanted.type, source.type):
        if wanted.type != source.type:
            name = quote(wanted.name)
            message = f"The {source.called} is a {source.type}, but the input {name} takes a {wanted.type}."
            faults.add(place, "recipe-definition.type-mismatch", message)
        return
    if wanted.type == "file" and source.type == "files":
        name = quote(wanted.name)
        message = (
            f"The {source.called} may be several files, but the input {name} only accepts a single file."
        )
        faults.add(place, "recipe-definition.files-to-file", message)
    for media_type in source.media_types or (media_types.UNKNOWN,):
        if not wanted.accepts(media_type):
            warnings.add_media_type(wanted, media_type)


def _unknown_job_type(
    job: RecipeJob, place: str, job_types: Mapping[tuple[str, str], JobInterface], faults: Faults
) -> None:
    name, version = job.job_type
    rule = "recipe-definition.unknown-job-type"
    message = f"There is no job type {quote(name)} with the version {quote(version)}."
    versions = {known for known_name, known in job_types if known_name == name}
    if versions:
        faults.add_unknown(place, rule, message, what="versions", name=version, known=versions)
    else:
        names = {known for known, _ in job_types}
        faults.add_unknown(place, rule, message, what="job types", name=name, known=names)
