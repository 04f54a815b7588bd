# SPDX-License-Identifier: Apache-2.0
"""The recipe definition: a graph of jobs and their connections (specification: Recipe Definition)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.definitions.documents import check_unique, rows, structure, text_of
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.job_interface import InterfaceInput, JobInterface
from scale_airflow.definitions.recipe_connections import check_connections
from scale_airflow.definitions.recipe_graph import find_cycles, order
from scale_airflow.errors import DocumentWarning

KIND = "recipe-definition"


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another job that must be completed first; connections are pairs (its output, this job's input)."""

    name: str
    connections: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeJob:
    """One job of a recipe; ``recipe_inputs`` are pairs (recipe input, job input)."""

    name: str
    job_type_name: str
    job_type_version: str
    recipe_inputs: tuple[tuple[str, str], ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RecipeJob:
        """Build the job from its valid JSON object."""
        return cls(
            row["name"],
            row["job_type"]["name"],
            row["job_type"]["version"],
            tuple((each["recipe_input"], each["job_input"]) for each in row.get("recipe_inputs", ())),
            tuple(
                Dependency(
                    each["name"],
                    tuple((pair["output"], pair["input"]) for pair in each.get("connections", ())),
                )
                for each in row.get("dependencies", ())
            ),
        )

    @property
    def job_type(self) -> tuple[str, str]:
        """Name and version of the job type."""
        return self.job_type_name, self.job_type_version


@dataclass(frozen=True)
class RecipeDefinition:
    """Inputs and jobs of a recipe."""

    inputs: tuple[InterfaceInput, ...]
    jobs: tuple[RecipeJob, ...]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, document: object) -> RecipeDefinition:
        """Read a recipe definition and check everything that can be checked without its job types.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document)
        inputs = [
            (f"/input_data/{index}/name", text_of(row, "name")) for index, row in rows(document, "input_data")
        ]
        jobs = [(f"/jobs/{index}/name", text_of(row, "name")) for index, row in rows(document, "jobs")]
        input_names = check_unique(faults, "recipe-definition.duplicate-input", "input", inputs)
        job_names = check_unique(faults, "recipe-definition.duplicate-job", "job", jobs)
        for index, row in rows(document, "jobs"):
            _check_job(row, f"/jobs/{index}", input_names, job_names, faults)
        _check_cycles(document, faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        return cls(
            tuple(InterfaceInput.of(row) for row in document.get("input_data", ())),
            tuple(RecipeJob.of(row) for row in document["jobs"]),
            document,
        )

    @functools.cached_property
    def _inputs_by_name(self) -> dict[str, InterfaceInput]:
        return {each.name: each for each in self.inputs}

    @functools.cached_property
    def _jobs_by_name(self) -> dict[str, RecipeJob]:
        return {job.name: job for job in self.jobs}

    @functools.cached_property
    def _ordered(self) -> tuple[RecipeJob, ...]:
        parents = {job.name: [each.name for each in job.dependencies] for job in self.jobs}
        return tuple(self._jobs_by_name[name] for name in order(parents))

    def job(self, name: str) -> RecipeJob:
        """Return the job with this name.

        :raises KeyError: there is none.
        """
        return self._jobs_by_name[name]

    def input(self, name: str) -> InterfaceInput | None:
        """Return the recipe's input with this name, or None."""
        return self._inputs_by_name.get(name)

    def topological_order(self) -> tuple[RecipeJob, ...]:
        """Return the jobs, each behind those it depends on, otherwise in the document's order."""
        return self._ordered

    def roots(self) -> tuple[RecipeJob, ...]:
        """Return the jobs that depend on no other."""
        return tuple(job for job in self.jobs if not job.dependencies)

    def children(self, name: str) -> tuple[RecipeJob, ...]:
        """Return the jobs that depend directly on the job with this name."""
        return tuple(job for job in self.jobs if any(each.name == name for each in job.dependencies))

    def job_types(self) -> set[tuple[str, str]]:
        """Return name and version of every job type that the recipe runs."""
        return {job.job_type for job in self.jobs}

    def check(self, job_types: Mapping[tuple[str, str], JobInterface]) -> list[DocumentWarning]:
        """Check the connections against the interfaces of the job types; return warnings.

        :param job_types: the interfaces of the job types that exist, by (name, version).
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        warnings = check_connections(self, job_types, faults)
        faults.refuse(KIND, self.document)
        return warnings


def _check_job(
    row: Mapping[str, Any], place: str, input_names: set[str], job_names: set[str], faults: Faults
) -> None:
    """Check the names that one job refers to, and that none of its inputs is connected twice."""
    connected: list[tuple[str, str | None]] = []
    for index, connection in rows(row, "recipe_inputs"):
        here = f"{place}/recipe_inputs/{index}"
        name = text_of(connection, "recipe_input")
        if name is not None and name not in input_names:
            message = f"The recipe has no input {quote(name)}."
            rule = "recipe-definition.unknown-recipe-input"
            where = f"{here}/recipe_input"
            faults.add_unknown(where, rule, message, what="inputs", name=name, known=input_names)
        connected.append((f"{here}/job_input", text_of(connection, "job_input")))
    for index, dependency in rows(row, "dependencies"):
        here = f"{place}/dependencies/{index}"
        name = text_of(dependency, "name")
        if name is not None and name not in job_names:
            message = f"The recipe has no job {quote(name)}."
            rule = "recipe-definition.unknown-dependency"
            faults.add_unknown(f"{here}/name", rule, message, what="jobs", name=name, known=job_names)
        for number, connection in rows(dependency, "connections"):
            connected.append((f"{here}/connections/{number}/input", text_of(connection, "input")))
    seen: set[str] = set()
    for where, name in connected:
        if name is not None and name in seen:
            message = f"The job input {quote(name)} is connected more than once."
            faults.add(where, "recipe-definition.duplicate-connection", message)
        elif name is not None:
            seen.add(name)


def _check_cycles(document: object, faults: Faults) -> None:
    parents: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for index, row in rows(document, "jobs"):
        name = text_of(row, "name")
        if name is None or name in parents:
            continue
        places[name] = f"/jobs/{index}/dependencies"
        needed = (text_of(each, "name") for _, each in rows(row, "dependencies"))
        parents[name] = [each for each in needed if each is not None]
    for cycle in find_cycles(parents):
        shown = " needs ".join(quote(name) for name in cycle[:20])
        message = f"These jobs wait for each other and could never start: {shown} needs {quote(cycle[0])}."
        faults.add(places[cycle[0]], "recipe-definition.circular-dependency", message)
