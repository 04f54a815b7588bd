# SPDX-License-Identifier: Apache-2.0
"""Check the connections of a recipe against the interfaces of its job types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scale_airflow.definitions import media_types
from scale_airflow.definitions.documents import known_names
from scale_airflow.definitions.faults import Faults, nearest, quote
from scale_airflow.definitions.job_interface import InterfaceInput, JobInterface
from scale_airflow.errors import DocumentWarning

if TYPE_CHECKING:
    from scale_airflow.definitions.recipe_definition import RecipeDefinition, RecipeJob


@dataclass(frozen=True, slots=True)
class Source:
    """What is passed to a job's input; ``called`` names it in a sentence."""

    called: str
    type: str
    required: bool
    media_types: tuple[str, ...]


def check_connections(
    definition: RecipeDefinition, job_types: Mapping[tuple[str, str], JobInterface], faults: Faults
) -> list[DocumentWarning]:
    """Check every connection of a recipe; return warnings."""
    warnings: list[DocumentWarning] = []
    for index, job in enumerate(definition.jobs):
        interface = job_types.get(job.job_type)
        if interface is None:
            _unknown_job_type(job, f"/jobs/{index}/job_type", job_types, faults)
            continue
        connected: set[str] = set()
        for place, source, input_name in _sources(definition, job, f"/jobs/{index}", job_types, warnings):
            connected.add(input_name)
            wanted = interface.input(input_name)
            if wanted is None:
                details = f"The job {quote(job.name)} has no input {quote(input_name)}, so this is ignored."
                warnings.append(
                    _warning("unknown_input", details, input_name, [each.name for each in interface.inputs])
                )
            elif source is not None:
                check_source(wanted, source, place, faults, warnings)
        for each in interface.inputs:
            if each.required and each.name not in connected:
                message = f"Nothing is passed to the job's required input {quote(each.name)}."
                faults.add(f"/jobs/{index}", "recipe-definition.missing-input", message)
    return warnings


def _sources(
    definition: RecipeDefinition,
    job: RecipeJob,
    place: str,
    job_types: Mapping[tuple[str, str], JobInterface],
    warnings: list[DocumentWarning],
) -> Iterator[tuple[str, Source | None, str]]:
    """Yield (pointer, source, job input); the source is None where the other job's type does not exist.

    A connection to an output that does not exist is left out: Scale ignores it, so a required input of it is
    not provided.
    """
    for index, (recipe_input, job_input) in enumerate(job.recipe_inputs):
        found = definition.input(recipe_input)
        if found is not None:
            yield f"{place}/recipe_inputs/{index}", source_of_input(found, "recipe input"), job_input
    for index, dependency in enumerate(job.dependencies):
        interface = job_types.get(definition.job(dependency.name).job_type)
        for number, (output_name, job_input) in enumerate(dependency.connections):
            here = f"{place}/dependencies/{index}/connections/{number}"
            if interface is None:
                yield here, None, job_input
                continue
            output = interface.output(output_name)
            if output is None:
                details = (
                    f"The job {quote(dependency.name)} has no output {quote(output_name)}, so its connection "
                    f"to the job {quote(job.name)} is ignored."
                )
                warnings.append(
                    _warning(
                        "unknown_output", details, output_name, [each.name for each in interface.outputs]
                    )
                )
                continue
            types = (output.media_type,) if output.media_type else ()
            called = f"output {quote(output_name)} of the job {quote(dependency.name)}"
            yield here, Source(called, output.type, output.required, types), job_input


def source_of_input(found: InterfaceInput, what: str) -> Source:
    """Return an input of a recipe as a source for its jobs."""
    return Source(f"{what} {quote(found.name)}", found.type, found.required, found.media_types)


def check_source(
    wanted: InterfaceInput, source: Source, place: str, faults: Faults, warnings: list[DocumentWarning]
) -> None:
    """Check that a source may be passed to an input; media types that do not match give warnings only."""
    name = quote(wanted.name)
    if wanted.required and not source.required:
        message = f"The input {name} is required, but the {source.called} is optional and may be missing."
        faults.add(place, "recipe-definition.optional-to-required", message)
    if "property" in (wanted.type, source.type):
        if wanted.type != source.type:
            message = f"The {source.called} is a {source.type}, but the input {name} takes a {wanted.type}."
            faults.add(place, "recipe-definition.type-mismatch", message)
        return
    if wanted.type == "file" and source.type == "files":
        message = (
            f"The {source.called} may be several files, but the input {name} only accepts a single file."
        )
        faults.add(place, "recipe-definition.files-to-file", message)
    for media_type in source.media_types or (media_types.UNKNOWN,):
        if not wanted.accepts(media_type):
            details = f"Invalid media type for data input: {wanted.name} -> {media_type}"
            warnings.append(DocumentWarning("media_type", details))


def _unknown_job_type(
    job: RecipeJob, place: str, job_types: Mapping[tuple[str, str], JobInterface], faults: Faults
) -> None:
    name, version = job.job_type
    versions = sorted(known for known_name, known in job_types if known_name == name)
    message = f"There is no job type {quote(name)} with the version {quote(version)}"
    rule = "recipe-definition.unknown-job-type"
    if versions:
        faults.add(place, rule, f"{message}; {known_names('versions', set(versions))}.")
    else:
        faults.add(place, rule, f"{message}.", near=(name, sorted({known for known, _ in job_types})))


def _warning(identifier: str, details: str, name: str, known: list[str]) -> DocumentWarning:
    meant = nearest(name, known)
    return DocumentWarning(identifier, f"{details} Did you mean {quote(meant)}?" if meant else details)
