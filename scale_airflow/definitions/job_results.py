# SPDX-License-Identifier: Apache-2.0
"""The results of a job: which files its outputs are (the ``results`` field of jobs and job executions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scale_airflow.definitions.documents import structure

KIND = "job-results"


@dataclass(frozen=True, slots=True)
class JobResults:
    """The identifiers of the files of each output; ``is_list`` says whether it is a ``files`` output."""

    outputs: Mapping[str, tuple[int, ...]]
    is_list: Mapping[str, bool]

    @classmethod
    def parse(cls, document: object) -> JobResults:
        """Read job results; None or an empty object is a job without results.

        :raises InvalidDocument: every fault found.
        """
        if document is None:
            document = {}
        faults = structure(KIND, document)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        rows = document.get("output_data", ())
        return cls(
            {row["name"]: tuple(row["file_ids"]) if "file_ids" in row else (row["file_id"],) for row in rows},
            {row["name"]: "file_ids" in row for row in rows},
        )

    def to_document(self) -> dict[str, Any]:
        """Return the JSON form: ``{"version", "output_data": [{"name", "file_id" or "file_ids"}]}``."""
        rows: list[dict[str, Any]] = []
        for name, file_ids in self.outputs.items():
            if self.is_list.get(name, len(file_ids) != 1):
                rows.append({"name": name, "file_ids": list(file_ids)})
            else:
                rows.append({"name": name, "file_id": file_ids[0]})
        return {"version": "1.0", "output_data": rows}
