# SPDX-License-Identifier: Apache-2.0
"""The recipe data: what one recipe runs on, and how its jobs get their data (specification: Recipe Data)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scale_airflow.definitions.documents import structure
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.input_data import (
    DataInput,
    FileFacts,
    WorkspaceFacts,
    check_inputs,
    check_rows,
    check_workspace,
)
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_results import JobResults
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.errors import DocumentWarning

KIND = "recipe-data"


@dataclass(frozen=True)
class RecipeData:
    """A value for each input of a recipe, and the workspace for everything that its jobs produce."""

    inputs: tuple[DataInput, ...]
    workspace_id: int | None
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> RecipeData:
        """Read recipe data; None is empty data.

        :raises InvalidDocument: every fault found.
        """
        if document is None:
            document = {}
        faults = structure(KIND, document)
        check_rows(document, faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        inputs = tuple(DataInput.of(row) for row in document.get("input_data", ()))
        return cls(inputs, document.get("workspace_id"), document)

    def input(self, name: str) -> DataInput | None:
        """Return the data for the recipe's input with this name, or None if it was not given."""
        return next((data for data in self.inputs if data.name == name), None)

    def file_ids(self) -> tuple[int, ...]:
        """Return every file that the data names, each once."""
        return tuple(dict.fromkeys(file_id for data in self.inputs for file_id in data.file_ids or ()))

    def check(
        self,
        definition: RecipeDefinition,
        files: Mapping[int, FileFacts],
        workspaces: Mapping[int, WorkspaceFacts],
        *,
        needs_workspace: bool,
    ) -> list[DocumentWarning]:
        """Check the data against its recipe's definition; return warnings.

        :param files: the files that exist, by id; those of :meth:`file_ids` are looked up.
        :param workspaces: the workspaces that exist, by id.
        :param needs_workspace: whether any job of the recipe has an output.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        warnings = check_inputs(definition.inputs, self.inputs, files, faults)
        if self.workspace_id is not None:
            check_workspace(self.workspace_id, "/workspace_id", workspaces, faults)
        elif needs_workspace:
            message = (
                "Jobs of this recipe produce files, so workspace_id is required to say where they are stored."
            )
            faults.add("", "data.missing-workspace", message)
        faults.refuse(KIND, self.document)
        return warnings


def job_data_for(
    definition: RecipeDefinition,
    job_name: str,
    interface: JobInterface,
    recipe_data: RecipeData,
    parent_results: Mapping[str, JobResults],
) -> JobData:
    """Return the data for one job of a recipe.

    :param interface: the interface of the job's type.
    :param parent_results: the results of the jobs that this one depends on, by their names in the recipe.
    :raises KeyError: the recipe has no such job, or a dependency's results are missing.
    :raises ValueError: the job has outputs, but the recipe data names no workspace.
    """
    job = definition.job(job_name)
    provided = {data.name: data for data in recipe_data.inputs}
    inputs: list[DataInput] = []
    for recipe_input, job_input in job.recipe_inputs:
        given = provided.get(recipe_input)
        if given is not None and (given.value is not None or given.file_ids is not None):
            inputs.append(_fitting(interface, replace(given, name=job_input)))
    for dependency in job.dependencies:
        results = parent_results[dependency.name]
        for output, job_input in dependency.connections:
            # An optional output that was not produced leaves an optional input without data.
            if output in results.outputs:
                data = DataInput(job_input, None, results.outputs[output], results.is_list[output])
                inputs.append(_fitting(interface, data))
    if interface.outputs and recipe_data.workspace_id is None:
        raise ValueError(f"The job {job_name!r} has outputs, but the recipe data names no workspace")
    workspace_id = recipe_data.workspace_id
    outputs = {} if workspace_id is None else {output.name: workspace_id for output in interface.outputs}
    return JobData.of(inputs, outputs)


def _fitting(interface: JobInterface, data: DataInput) -> DataInput:
    """Return data for a ``files`` input as a list, however it was given."""
    wanted = interface.input(data.name)
    if wanted is not None and wanted.type == "files" and data.file_ids is not None:
        return replace(data, is_list=True)
    return data
