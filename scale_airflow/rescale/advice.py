# SPDX-License-Identifier: Apache-2.0
"""Says to a refused job what Rescale would have taken: projects, core types, cores, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from scale_airflow.errors import Fault, RescaleError, RescaleRefused
from scale_airflow.rescale.calls import Flow
from scale_airflow.rescale.endpoints import list_analyses, list_core_types, list_projects
from scale_airflow.rescale.models import Analysis, CoreType, Project

_SHOWN = 12


def advised(refused: RescaleRefused, body: Mapping[str, Any]) -> Flow[RescaleRefused]:
    """Return a refusal whose faults say what would be right, as a conversation that looks it up.

    :param body: what the job was to be created of.
    """
    asked = " ".join(fault.path + " " + fault.message for fault in refused.faults).lower()
    projects: list[Project] | None = None
    core_types: list[CoreType] | None = None
    analyses: list[Analysis] | None = None
    try:
        if "project" in asked:
            projects = yield list_projects()
        if "core" in asked:
            core_types = yield list_core_types()
        if "analysis" in asked or "version" in asked:
            analyses = yield list_analyses()
    except RescaleError:
        # Advice is a courtesy: without it the refusal still says what Rescale said.
        return refused
    faults = tuple(
        Fault(fault.path, fault.message + _hint(fault, body, projects, core_types, analyses), fault.rule)
        for fault in refused.faults
    )
    if faults == refused.faults:
        return refused
    shown = "; ".join(f"{fault.path}: {fault.message}" if fault.path else fault.message for fault in faults)
    return RescaleRefused(
        f"Rescale has refused the job ({refused.status}): {shown}",
        status=refused.status,
        job_id=refused.job_id,
        detail=refused.detail,
        faults=faults,
    )


def _hint(
    fault: Fault,
    body: Mapping[str, Any],
    projects: Sequence[Project] | None,
    core_types: Sequence[CoreType] | None,
    analyses: Sequence[Analysis] | None,
) -> str:
    field = fault.path.rpartition("/")[2].lower()
    if "/inputFiles" in fault.path:
        return " If the file was deleted, send it again and name its new id."
    text = f"{field} {fault.message}".lower()
    analysis = _analysis_at(fault.path, body)
    if projects is not None and "project" in text:
        shown = ", ".join(f"{project.id} ({project.name})" for project in projects[:_SHOWN])
        more = f" and {len(projects) - _SHOWN} more" if len(projects) > _SHOWN else ""
        return f" Your projects: {shown}{more}." if projects else " You have no projects: ask for one."
    if core_types is not None and "core" in text:
        return _about_cores(field, analysis, core_types)
    if analyses is not None and ("analysis" in text or "version" in text or "code" in field):
        return _about_software(analysis, analyses)
    return ""


def _about_cores(field: str, analysis: Mapping[str, Any], core_types: Sequence[CoreType]) -> str:
    wanted = _in(analysis, "hardware").get("coreType")
    found = next((each for each in core_types if each.code == wanted), None)
    if found is None:
        return _nearest("core types", str(wanted), [each.code for each in core_types])
    if "cores" in field and found.cores:
        return f" {found.code} has slots of {', '.join(map(str, found.cores))} cores."
    return ""


def _about_software(analysis: Mapping[str, Any], analyses: Sequence[Analysis]) -> str:
    software = _in(analysis, "analysis")
    found = next((each for each in analyses if each.code == software.get("code")), None)
    if found is None:
        return _nearest("analyses", str(software.get("code")), [each.code for each in analyses])
    codes = [version.code for version in found.versions]
    if software.get("version") in codes:
        return ""
    return _nearest(f"versions of {found.code}", str(software.get("version")), codes)


def _nearest(what: str, wanted: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = get_close_matches(wanted, names, n=3, cutoff=0.5)
    if near:
        return f" The nearest {what} are {', '.join(near)}."
    return f" There are these {what}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}."


def _analysis_at(path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = path.split("/")
    analyses = body.get("jobanalyses")
    index = parts[2] if len(parts) > 2 and parts[1] == "jobanalyses" else "0"
    if isinstance(analyses, Sequence) and index.isdigit() and int(index) < len(analyses):
        found = analyses[int(index)]
        return found if isinstance(found, Mapping) else {}
    return {}


def _in(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}
