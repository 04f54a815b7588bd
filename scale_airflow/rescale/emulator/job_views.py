# SPDX-License-Identifier: Apache-2.0
"""How jobs look in answers: in full, and as a line of a list."""

from __future__ import annotations

from typing import Any

from scale_airflow.rescale.emulator.moments import with_z
from scale_airflow.rescale.emulator.records import CLUSTER, JOB, JobRecord
from scale_airflow.rescale.emulator.state import State
from scale_airflow.rescale.emulator.views import file_document

COMPLETED = "Completed"


def job_document(record: JobRecord, state: State, origin: str) -> dict[str, Any]:
    """Return a job in full: what was saved, its files with their metadata. It has no status."""
    document = {
        **record.document,
        "id": record.id,
        "owner": record.owner,
        "dateInserted": with_z(record.inserted),
        "sharedWith": record.shared_with,
        "tags": record.tags,
        "customFields": record.custom_fields,
        "storageDevices": [{"id": one} for one in record.storage_device_ids],
        "clusterId": record.cluster_id or record.document.get("clusterId"),
    }
    for name in ("paramFile", "caseFile"):
        document[name] = _file(record.document.get(name), state, origin)
    document["jobanalyses"] = [_analysis(one, state, origin) for one in record.document["jobanalyses"]]
    return document


def _analysis(analysis: dict[str, Any], state: State, origin: str) -> dict[str, Any]:
    shown = dict(analysis)
    shown["inputFiles"] = [_file(one, state, origin) for one in analysis["inputFiles"]]
    for name in ("preProcessScript", "postProcessScript"):
        shown[name] = _file(analysis[name], state, origin)
    shown["templateTasks"] = [
        {**one, "templateFile": _file(one["templateFile"], state, origin)}
        for one in analysis["templateTasks"]
    ]
    return shown


def _file(given: dict[str, Any] | None, state: State, origin: str) -> dict[str, Any] | None:
    record = state.files.get(given["id"]) if given else None
    return given if given is None or record is None else {**file_document(record, origin), **given}


def job_summary(record: JobRecord, state: State) -> dict[str, Any]:
    """Return a job as a line of the list, which does have a status."""
    return {
        "id": record.id,
        "name": record.name,
        "dateInserted": with_z(record.inserted),
        "jobStatus": _shown(state.latest(JOB, record.id)),
        "clusterStatusDisplay": _shown(state.latest(CLUSTER, record.id)),
        "analysisNames": [one["analysis"]["name"] for one in record.document["jobanalyses"]],
        "owner": record.owner,
        "sharedWith": record.shared_with,
        "storage": _storage(record, state),
        "isVisible": True,
        "isLowPriority": record.document["isLowPriority"],
    }


def _shown(status: str | None) -> dict[str, Any]:
    return {"content": status or "", "labelClass": "", "useLabel": False}


def _storage(record: JobRecord, state: State) -> int:
    inputs = {one["id"] for each in record.document["jobanalyses"] for one in each["inputFiles"]}
    files = [state.files[one] for one in inputs if one in state.files]
    return sum(one.size for one in [*files, *state.output_files(record.id)])
