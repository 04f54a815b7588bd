# SPDX-License-Identifier: Apache-2.0
"""A saved job as the template of a new one: what its author wrote, without what the server made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scale_airflow.rescale.documents import without_secrets
from scale_airflow.rescale.job_models import Job

# What Rescale adds to a job, or takes by calls of its own; sent back, it would be ignored at best. A job's
# cluster is its own.
_SERVER_MADE = frozenset(
    {
        "id", "owner", "dateInserted", "expectedRuns", "sharedWith", "storage", "isVisible", "jobStatus",
        "clusterStatusDisplay", "analysisNames", "visibility", "optimizer", "clusterId", "clonedFrom",
        "customFields", "storageDevices",
    }
)  # fmt: skip
_ANALYSIS_KEYS = ("code", "version")
_FILE_FIELDS = ("paramFile", "caseFile")
_SCRIPT_FIELDS = ("preProcessScript", "postProcessScript")
# The names of jobs that tasks have created end in what tells those tasks apart.
_MARKER = re.compile(r"\s*\[airflow-[0-9a-f]+-[0-9a-f]+\]\s*$")
_MARKER_TAG = re.compile(r"airflow-[0-9a-f]+")


def body_of(job: Job | Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that creates a job like a saved one.

    Input files are named by their ids, so the new job reads the same files. Fields that are not known here
    are kept. A job that a task of Airflow's has made loses that task's marker.

    :param job: as Rescale has answered it. Rescale API: get a specific job.
    """
    document = without_secrets(job.document if isinstance(job, Job) else dict(job))
    body = {key: value for key, value in document.items() if key not in _SERVER_MADE and value is not None}
    for key in _FILE_FIELDS:
        if key in body:
            body[key] = _reference(body[key])
    if isinstance(name := body.get("name"), str):
        body["name"] = _MARKER.sub("", name)
    if isinstance(tags := body.get("tags"), list):
        body["tags"] = [tag for tag in tags if not (isinstance(tag, str) and _MARKER_TAG.fullmatch(tag))]
    body["jobanalyses"] = [_analysis(each) for each in _list(document.get("jobanalyses"))]
    body["jobvariables"] = [_without_id(each) for each in _list(document.get("jobvariables"))]
    return body


def merged(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's body with changes: objects are merged key by key, None takes a key out.

    Analyses are merged one by one, in their order; other lists are replaced. ``{"jobanalyses": [{"hardware":
    {"walltime": 4}}]}`` changes only the first one's walltime.
    """
    result = dict(body)
    for key, value in changes.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif key == "jobanalyses" and isinstance(old, list) and isinstance(value, Sequence):
            pairs = [(old[i] if i < len(old) else {}, row) for i, row in enumerate(value)]
            result[key] = [merged(before, row) for before, row in pairs] + old[len(value) :]
        elif isinstance(value, Mapping):
            # What the environment of a job is, its author says anew or key by key.
            result[key] = merged(old if isinstance(old, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _analysis(document: Any) -> dict[str, Any]:
    analysis = {key: value for key, value in dict(document).items() if value is not None and key != "id"}
    software = analysis.get("analysis")
    if isinstance(software, Mapping):
        analysis["analysis"] = {key: software[key] for key in _ANALYSIS_KEYS if software.get(key) is not None}
    hardware = analysis.get("hardware")
    if isinstance(hardware, Mapping):
        kept = {key: value for key, value in hardware.items() if key != "coreSummary" and value is not None}
        if isinstance(core_type := kept.get("coreType"), Mapping):
            kept["coreType"] = core_type.get("code")
        analysis["hardware"] = kept
    analysis["inputFiles"] = [_reference(each, "decompress") for each in _list(analysis.get("inputFiles"))]
    analysis["templateTasks"] = [_template(each) for each in _list(analysis.get("templateTasks"))]
    for key in _SCRIPT_FIELDS:
        if key in analysis:
            analysis[key] = _reference(analysis[key])
    return analysis


def _template(task: Any) -> Any:
    if not isinstance(task, Mapping):
        return task
    kept = {key: value for key, value in task.items() if key != "id" and value is not None}
    if "templateFile" in kept:
        kept["templateFile"] = _reference(kept["templateFile"])
    return kept


def _reference(file: Any, *further: str) -> Any:
    if not isinstance(file, Mapping):
        return file
    return {key: file[key] for key in ("id", *further) if key in file}


def _without_id(row: Any) -> Any:
    return {key: value for key, value in row.items() if key != "id"} if isinstance(row, Mapping) else row


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
