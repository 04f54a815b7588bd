# SPDX-License-Identifier: Apache-2.0
"""The body of a job: what single values make, what is added on the way, and its check before it is sent.

Rescale ignores fields that it does not know (``project_id`` instead of ``projectId`` is a job charged to
nobody), so what looks like a slip is told. (Rescale API: create a job.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from scale_airflow.definitions.faults import nearest
from scale_airflow.errors import Fault, InvalidDocument
from scale_airflow.rescale.submission import Marker

JOB_FIELDS = frozenset(
    {
        "archiveFilters",
        "autoTerminateCluster",
        "billingPriorityValue",
        "caseFile",
        "cidrRule",
        "clonedFrom",
        "clusterId",
        "description",
        "includeNominalRun",
        "isLowPriority",
        "isTemplateDryRun",
        "jobAutomations",
        "jobanalyses",
        "jobvariables",
        "monteCarloIterations",
        "name",
        "paramFile",
        "projectId",
        "resourceFilters",
        "sshPort",
        "tags",
    }
)
ANALYSIS_FIELDS = frozenset(
    {
        "analysis",
        "command",
        "envVars",
        "flags",
        "hardware",
        "inputFiles",
        "onDemandLicenseSeller",
        "postProcessScript",
        "postProcessScriptCommand",
        "preProcessScript",
        "preProcessScriptCommand",
        "templateTasks",
        "useMpi",
        "useRescaleLicense",
        "userDefinedLicenseSettings",
    }
)
EXIT_CODE_NAME = ".airflow_exit_code"


def single_analysis(
    *,
    name: str | None = None,
    analysis: str | Mapping[str, Any] | None = None,
    command: str | None = None,
    env_vars: Mapping[str, str] | None = None,
    project_id: str | None = None,
    low_priority: bool | None = None,
    hardware: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the part of a body that single values make; what is None is left out.

    :param analysis: its code, ``"code:version"``, or an object with both.
    :param hardware: ``coreType`` and the like.
    """
    row: dict[str, Any] = {}
    if analysis is not None:
        code, _, version = analysis.partition(":") if isinstance(analysis, str) else ("", "", "")
        named = {"code": code, **({"version": version} if version else {})}
        row["analysis"] = named if isinstance(analysis, str) else dict(analysis)
    if command is not None:
        row["command"] = command
    if env_vars is not None:
        row["envVars"] = dict(env_vars)
    chosen = {key: value for key, value in (hardware or {}).items() if value is not None}
    if chosen:
        row["hardware"] = chosen
    top = {"name": name, "projectId": project_id, "isLowPriority": low_priority}
    body: dict[str, Any] = {key: value for key, value in top.items() if value is not None}
    if row:
        body["jobanalyses"] = [row]
    return body


def check(body: Mapping[str, Any]) -> list[str]:
    """Refuse a body that Rescale would refuse for sure; return what it would silently ignore.

    :raises InvalidDocument: with every fault.
    """
    faults: list[Fault] = []
    if not isinstance(body.get("name"), str) or not body["name"].strip():
        faults.append(_missing("/name", "a name"))
    rows = body.get("jobanalyses")
    if not isinstance(rows, list) or not rows:
        faults.append(_missing("/jobanalyses", "at least one analysis"))
        rows = []
    for index, row in enumerate(rows):
        faults += _faults_of_analysis(row, f"/jobanalyses/{index}")
    if faults:
        raise InvalidDocument("Rescale job", faults)
    slips = _slips(body, JOB_FIELDS, "")
    for index, row in enumerate(rows):
        slips += _slips(row, ANALYSIS_FIELDS, f"/jobanalyses/{index}")
    return slips


def _faults_of_analysis(row: object, path: str) -> list[Fault]:
    if not isinstance(row, Mapping):
        return [_missing(path, "an object")]
    faults: list[Fault] = []
    software, hardware = row.get("analysis"), row.get("hardware")
    if not isinstance(software, Mapping) or not software.get("code"):
        faults.append(_missing(f"{path}/analysis/code", "the code of an analysis (airflow rescale analyses)"))
    command = row.get("command")
    if not isinstance(command, str) or not command:
        faults.append(_missing(f"{path}/command", 'a command ("# " for one that does nothing)'))
    if not isinstance(hardware, Mapping):
        return [*faults, _missing(f"{path}/hardware", "an object with coreType and coresPerSlot")]
    if not hardware.get("coreType"):
        text = "the code of a core type (airflow rescale coretypes), or 'cheapest'"
        faults.append(_missing(f"{path}/hardware/coreType", text))
    if not hardware.get("coresPerSlot"):
        faults.append(_missing(f"{path}/hardware/coresPerSlot", "a number of cores"))
    return faults


def _missing(path: str, what: str) -> Fault:
    return Fault(path, f"must be given: {what}", "rescale-job.missing")


def _slips(given: Mapping[str, Any], known: frozenset[str], path: str) -> list[str]:
    slips = []
    for name in given:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            slips.append(
                f"{path}/{name} is not a field that Rescale knows, and it says nothing about it{hint}"
            )
    return slips


def with_inputs(body: Mapping[str, Any], files: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return ``body`` with input files added.

    :param files: pairs of an analysis' position and ``{"id": …, "decompress": …}``.
    :raises InvalidDocument: where there is no such analysis.
    """
    made = copy.deepcopy(dict(body))
    rows = made.get("jobanalyses") or []
    for index, file in files:
        if not 0 <= index < len(rows):
            fault = Fault(
                "/inputs", f"There is no analysis {index}; the job has {len(rows)}", "rescale-job.input"
            )
            raise InvalidDocument("Rescale job", [fault])
        rows[index].setdefault("inputFiles", []).append(dict(file))
    return made


def with_preludes(body: Mapping[str, Any], preludes: Iterable[tuple[int, str]]) -> dict[str, Any]:
    """Return ``body`` whose commands begin with lines that make their inputs whole.

    :param preludes: pairs of an analysis' position and a line of shell.
    """
    made = copy.deepcopy(dict(body))
    for index, line in preludes:
        row = made["jobanalyses"][index]
        row["command"] = f"{line}\n{row.get('command', '')}"
    return made


def with_marker(body: Mapping[str, Any], marker: Marker) -> dict[str, Any]:
    """Return ``body`` with the marker in its name and among its tags."""
    tags = [tag for tag in body.get("tags") or () if tag != marker.tag]
    return {**body, "name": marker.name(str(body.get("name") or "")), "tags": [*tags, marker.tag]}


def with_exit_codes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` whose commands each leave their exit code in a file of the run's directory.

    What the job itself ends with stays the same.
    """
    made = copy.deepcopy(dict(body))
    for index, row in enumerate(made.get("jobanalyses") or ()):
        file = exit_code_file(index)
        # The colon: a command may be nothing but a comment.
        row["command"] = f'(\n:\n{row.get("command", "")}\n)\ncode=$?; echo "$code" > {file}; (exit "$code")'
    return made


def exit_code_file(index: int) -> str:
    """Return the name of the file in which an analysis leaves its exit code."""
    return f"{EXIT_CODE_NAME}.{index}"
