# SPDX-License-Identifier: Apache-2.0
"""What a client sends as a job, checked and completed to what the service stores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scale_airflow.rescale.emulator import catalog
from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.doe import StudyError, cases
from scale_airflow.rescale.emulator.records import FileRecord
from scale_airflow.rescale.emulator.refusals import invalid
from scale_airflow.rescale.emulator.state import State
from scale_airflow.rescale.emulator.validation import REQUIRED, Fields

BILLING = ("INSTANT", "ON_DEMAND", "RESERVED")
DEFAULT_WALLTIME = 750
LONGEST_COMMAND = 2**20
LARGEST_PARAM_FILE = 64 * 2**20
_FILTERS = ("Analysis generated files", "Completed templates", "Input files")


@dataclass(frozen=True)
class JobRules:
    """What a job is checked against.

    :param owner: whose files it may use; :param project_required: refuse it without ``projectId``.
    """

    state: State
    blobs: Blobs
    owner: str
    project_required: bool = False

    def check(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document that is stored. Blocks while it reads a parameter file.

        :param body: a job as it was sent; or a stored one with changes.
        :raises RefusedError: 400 with every fault, nested as the body is. Unknown keys are ignored.
        """
        fields = Fields(body)
        document = {
            "name": fields.text("name"),
            "description": fields.text("description", "", longest=10_000, blank=True),
            "jobanalyses": fields.objects("jobanalyses", self._analysis, required=True),
            "isLowPriority": fields.flag("isLowPriority", False),
            "billingPriorityValue": fields.choice("billingPriorityValue", BILLING, "INSTANT"),
            "projectId": self._project(fields),
            "paramFile": fields.object("paramFile", self._file),
            "caseFile": fields.object("caseFile", self._file),
            "jobvariables": fields.objects("jobvariables", _variable),
            "resourceFilters": fields.as_is("resourceFilters", list, None) or _resource_filters(),
            "archiveFilters": fields.as_is("archiveFilters", list, []),
            "isTemplateDryRun": fields.flag("isTemplateDryRun", False),
            "includeNominalRun": fields.flag("includeNominalRun", False),
            "monteCarloIterations": fields.number("monteCarloIterations"),
            "autoTerminateCluster": fields.flag("autoTerminateCluster", True),
            "sshPort": fields.number("sshPort", 22, most=65535),
            "cidrRule": fields.raw("cidrRule"),
            "clusterId": fields.raw("clusterId"),
            "jobAutomations": fields.as_is("jobAutomations", list, []),
            "remoteVizConfig": fields.raw("remoteVizConfig"),
            "optimizer": fields.raw("optimizer"),
            "tags": fields.texts("tags"),
        }
        if not fields.errors:
            document["expectedRuns"] = self._expected_runs(fields, document)
        if fields.errors:
            raise invalid(fields.errors)
        return document

    def _project(self, fields: Fields) -> str | None:
        project = fields.raw("projectId")
        if project is None:
            if self.project_required:
                fields.fault("projectId", REQUIRED)
        elif not catalog.is_project(project):
            fields.fault("projectId", f'Invalid pk "{project}" - object does not exist.')
        return project if isinstance(project, str) else None

    def _analysis(self, fields: Fields) -> dict[str, Any]:
        analysis = fields.object("analysis", _software, required=True)
        software = catalog.ANALYSES_BY_CODE.get((analysis or {}).get("code", ""))
        return {
            "analysis": analysis,
            "command": _command(fields, software),
            "hardware": fields.object("hardware", lambda one: _hardware(one, software), required=True),
            "inputFiles": fields.objects("inputFiles", self._input),
            "envVars": fields.mapping("envVars"),
            "useRescaleLicense": fields.flag("useRescaleLicense", False),
            "onDemandLicenseSeller": fields.raw("onDemandLicenseSeller"),
            "userDefinedLicenseSettings": fields.raw("userDefinedLicenseSettings"),
            "templateTasks": fields.objects("templateTasks", self._template),
            "preProcessScript": fields.object("preProcessScript", self._file),
            "preProcessScriptCommand": fields.text("preProcessScriptCommand", "", longest=10_000, blank=True),
            "postProcessScript": fields.object("postProcessScript", self._file),
            "postProcessScriptCommand": fields.text(
                "postProcessScriptCommand", "", longest=10_000, blank=True
            ),
            "useMpi": fields.flag("useMpi", False),
            "flags": fields.as_is("flags", dict, {}),
        }

    def _file(self, fields: Fields) -> dict[str, Any]:
        file_id = fields.text("id")
        if file_id and self.file(file_id) is None:
            fields.fault("id", f'Invalid pk "{file_id}" - object does not exist.')
        return {"id": file_id}

    def _input(self, fields: Fields) -> dict[str, Any]:
        return {**self._file(fields), "decompress": fields.flag("decompress", True)}

    def _template(self, fields: Fields) -> dict[str, Any]:
        return {
            "processedFilename": fields.text("processedFilename"),
            "templateFile": fields.object("templateFile", self._file, required=True),
        }

    def file(self, file_id: str) -> FileRecord | None:
        """Return a file that the owner may use; None when there is none, or it was deleted."""
        record = self.state.files.get(file_id)
        if record is None or record.is_deleted or self.owner not in (record.owner, *record.shared_with):
            return None
        return record

    def _expected_runs(self, fields: Fields, document: dict[str, Any]) -> int | None:
        given = "paramFile" if document["paramFile"] else "caseFile"
        text = None
        try:
            if document[given]:
                text = self._text(document[given]["id"])
            found = cases(document, text)
        except (StudyError, UnicodeDecodeError) as error:
            fields.fault(given if document[given] else "jobvariables", f"{error}")
            return None
        return len(found) if text is not None or document["jobvariables"] else None

    def _text(self, file_id: str) -> str:
        record = self.state.files[file_id]
        if record.size > LARGEST_PARAM_FILE:
            raise StudyError("The parameter file is too large.")
        return self.blobs.path(record.blob).read_text("utf-8")


def _variable(fields: Fields) -> dict[str, Any]:
    fields.text("name")
    fields.text("variableType", "Param")
    fields.text("valueGeneratorType", "", blank=True)
    fields.as_is("valueGeneratorSettings", dict, {})
    return fields.whole()


def _software(fields: Fields) -> dict[str, Any]:
    code = fields.text("code")
    version = fields.text("version", "")
    software = catalog.ANALYSES_BY_CODE.get(code)
    if software is None:
        if code:
            fields.fault("code", f'There is no analysis with the code "{code}".')
        return {}
    version = version or software.versions[0][1]
    name = software.version_name(version)
    if name is None:
        known = ", ".join(one for _, one in software.versions)
        fields.fault("version", f'{software.name} has no version "{version}"; its version codes are {known}.')
    return {"code": code, "version": version, "name": software.name, "versionName": name}


def _command(fields: Fields, software: catalog.Software | None) -> str:
    command = fields.text("command", longest=LONGEST_COMMAND)
    flags = fields.raw("flags")
    unchecked = isinstance(flags, dict) and flags.get("igCv") is True
    checked = software is not None and software.interactive and not unchecked
    if checked and command and "interactive" not in command:
        fields.fault("command", 'The command must contain "interactive", or the job would not end.')
    return command


def _hardware(fields: Fields, software: catalog.Software | None) -> dict[str, Any]:
    code = fields.raw("coreType")
    if isinstance(code, dict):
        fields.fault("coreType", "Not a valid string.")
        return {}
    code = fields.text("coreType")
    slots = fields.number("slots", 1, most=1000)
    walltime = fields.number("walltime", DEFAULT_WALLTIME, most=100_000)
    kind = fields.text("type", "compute")
    cores = fields.number("coresPerSlot")
    if cores is None and not fields.errors.get("coresPerSlot"):
        fields.fault("coresPerSlot", REQUIRED)
    core_type = catalog.CORE_TYPES_BY_CODE.get(code)
    if core_type is None:
        if code:
            fields.fault("coreType", f'There is no core type with the code "{code}".')
        return {}
    if core_type.is_deprecated:
        fields.fault("coreType", f"{core_type.name} is deprecated and can't be used any more.")
    elif software is not None and code not in software.allowed_core_types():
        fields.fault("coreType", f"{core_type.name} is not available for {software.name}.")
    if cores is not None and cores not in core_type.cores:
        allowed = ", ".join(map(str, core_type.cores))
        fields.fault(
            "coresPerSlot", f"{core_type.name} has no slots with {cores} cores; possible: {allowed}."
        )
    return {
        "coreType": code,
        "coresPerSlot": cores,
        "slots": slots,
        "walltime": walltime,
        "type": kind,
        "coreSummary": _summary(core_type, cores or 1),
    }


def _summary(core_type: catalog.CoreType, cores: int) -> dict[str, Any]:
    per_node = min(cores, core_type.node_cores)
    return {
        "numberOfNodes": float(math.ceil(cores / core_type.node_cores)),
        "memoryPerNode": core_type.memory * per_node,
        "storagePerNode": core_type.storage * 1000,
        "gpusPerNode": int(core_type.gpus[0]),
    }


def _resource_filters() -> list[dict[str, Any]]:
    return [
        {"caseSensitive": False, "include": True, "filterType": name, "selector": name} for name in _FILTERS
    ]
