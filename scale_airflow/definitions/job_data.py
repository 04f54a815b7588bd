# SPDX-License-Identifier: Apache-2.0
"""The job data: what one job runs on (specification: Job Data)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scale_airflow.definitions.documents import check_unique, rows, structure, text_of
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.input_data import (
    DataInput,
    FileFacts,
    WorkspaceFacts,
    check_inputs,
    check_rows,
    check_workspace,
)
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import DocumentWarning

__all__ = ["DataInput", "FileFacts", "JobData", "WorkspaceFacts"]

KIND = "job-data"


@dataclass(frozen=True)
class JobData:
    """A value for each input, and the workspace (its id) for each output."""

    inputs: tuple[DataInput, ...]
    outputs: Mapping[str, int]
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> JobData:
        """Read job data; None is empty data.

        :raises InvalidDocument: every fault found.
        """
        if document is None:
            document = {}
        faults = structure(KIND, document)
        check_rows(document, faults)
        named = [
            (f"/output_data/{index}/name", text_of(row, "name"))
            for index, row in rows(document, "output_data")
        ]
        check_unique(faults, "data.duplicate-output", "output", named)
        input_names = {text_of(row, "name") for _, row in rows(document, "input_data")}
        for place, name in named:
            if name is not None and name in input_names:
                message = f"The name {quote(name)} is already used in input_data; every name must be unique."
                faults.add(place, "data.input-output-clash", message)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        return cls(
            tuple(DataInput.of(row) for row in document.get("input_data", ())),
            {row["name"]: row["workspace_id"] for row in document.get("output_data", ())},
            document,
        )

    @classmethod
    def of(cls, inputs: Sequence[DataInput], outputs: Mapping[str, int]) -> JobData:
        """Build job data with its document from inputs and workspaces."""
        document = {
            "version": "1.0",
            "input_data": [data.to_row() for data in inputs],
            "output_data": [
                {"name": name, "workspace_id": workspace_id} for name, workspace_id in outputs.items()
            ],
        }
        return cls(tuple(inputs), dict(outputs), document)

    def input(self, name: str) -> DataInput | None:
        """Return the data for the input with this name, or None if it was not given."""
        return next((data for data in self.inputs if data.name == name), None)

    def file_ids(self) -> tuple[int, ...]:
        """Return every file that the data names, each once."""
        return tuple(dict.fromkeys(file_id for data in self.inputs for file_id in data.file_ids or ()))

    def workspace_ids(self) -> tuple[int, ...]:
        """Return every workspace that the data names, each once."""
        return tuple(dict.fromkeys(self.outputs.values()))

    def check(
        self,
        interface: JobInterface,
        files: Mapping[int, FileFacts],
        workspaces: Mapping[int, WorkspaceFacts],
    ) -> list[DocumentWarning]:
        """Check the data against the interface of its job type; return warnings.

        :param files: the files that exist, by id; those of :meth:`file_ids` are looked up.
        :param workspaces: the workspaces that exist, by id; those of :meth:`workspace_ids` are looked up.
        :raises InvalidDocument: every fault found.
        """
        faults = Faults()
        warnings = check_inputs(interface.inputs, self.inputs, files, faults)
        places = {text_of(row, "name"): index for index, row in rows(self.document, "output_data")}
        for output in interface.outputs:
            if output.name not in self.outputs:
                message = f"The output {quote(output.name)} has no workspace; every output needs an entry."
                faults.add("/output_data", "data.missing-output", message)
                continue
            place = f"/output_data/{places[output.name]}/workspace_id"
            check_workspace(self.outputs[output.name], place, workspaces, faults)
        faults.refuse(KIND, self.document)
        return warnings
