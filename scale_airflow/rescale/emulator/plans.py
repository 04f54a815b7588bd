# SPDX-License-Identifier: Apache-2.0
"""What a job's document asks for: its commands, what goes into a run's home, how many runs at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scale_airflow.rescale.emulator.doe import StudyError
from scale_airflow.rescale.emulator.records import JobRecord, RunRecord
from scale_airflow.rescale.emulator.runner import Analysis
from scale_airflow.rescale.emulator.staging import Cargo, Input, StagingError, Template
from scale_airflow.rescale.emulator.state import State

API_KEY = "RESCALE_API_KEY"


def analyses(job: JobRecord, run: RunRecord, api_key: str, base_url: str, hour: float) -> list[Analysis]:
    """Return what a run executes.

    :param api_key: the job's own key, in the commands' environment.
    :param base_url: where jobs reach this emulator; empty when it does not listen.
    :param hour: seconds of an hour of walltime.
    """
    if job.document.get("isTemplateDryRun"):
        return []
    values = {str(one["name"]): str(one["displayValue"]) for one in run.variables}
    return [_analysis(job, run, one, api_key, base_url, hour, values) for one in _analyses(job)]


def cargo(state: State, job: JobRecord, run: RunRecord, storage: Path) -> Cargo:
    """Return what goes into a run's home.

    :param storage: directory of the storage devices.
    :raises StagingError: when a file of the job was deleted.
    """
    inputs: list[Input] = []
    templates: list[Template] = []
    for one in _analyses(job):
        for given in one.get("inputFiles") or ():
            file = _file(state, given)
            inputs.append(Input(file.blob, file.relative_path or file.name, given.get("decompress", True)))
        for script in (one.get("preProcessScript"), one.get("postProcessScript")):
            if script:
                file = _file(state, script)
                inputs.append(Input(file.blob, file.name, decompress=False))
        for task in one.get("templateTasks") or ():
            file = _file(state, task.get("templateFile"))
            templates.append(Template(file.blob, str(task.get("processedFilename") or file.name)))
    return Cargo(
        inputs=inputs,
        templates=templates,
        values={str(one["name"]): str(one["displayValue"]) for one in run.variables},
        devices={device: storage / device for device in job.storage_device_ids},
    )


def param_file(state: State, job: JobRecord) -> str | None:
    """Return the name of the blob of a job's CSV file, None when it has none.

    :raises StudyError: when the file was deleted.
    """
    given = job.document.get("paramFile") or job.document.get("caseFile")
    if not given:
        return None
    try:
        return str(_file(state, given).blob)
    except StagingError as error:
        raise StudyError(str(error)) from error


def simultaneous_runs(job: JobRecord) -> int:
    """Return how many runs the hardware takes at a time: its slots."""
    return max(1, *(int(_hardware(one).get("slots") or 1) for one in _analyses(job)))


def machines(job: JobRecord) -> tuple[int, int]:
    """Return how many machines a job's cluster has, and the cores of each."""
    hardware = _hardware(_analyses(job)[0])
    count = int((hardware.get("coreSummary") or {}).get("numberOfNodes") or 1)
    return max(1, count), int(hardware.get("coresPerSlot") or 1)


def _analyses(job: JobRecord) -> list[dict[str, Any]]:
    return list(job.document.get("jobanalyses") or ())


def _hardware(analysis: Mapping[str, Any]) -> dict[str, Any]:
    return dict(analysis.get("hardware") or {})


def _analysis(
    job: JobRecord,
    run: RunRecord,
    document: Mapping[str, Any],
    api_key: str,
    base_url: str,
    hour: float,
    values: Mapping[str, str],
) -> Analysis:
    hardware = _hardware(document)
    commands = [
        str(document[name])
        for name in ("preProcessScriptCommand", "command", "postProcessScriptCommand")
        if str(document.get(name) or "").strip()
    ]
    environment = {
        "RESCALE_JOB_ID": job.id,
        "RESCALE_RUN_ID": run.id,
        "RESCALE_CORES_PER_SLOT": str(hardware.get("coresPerSlot") or 1),
        "RESCALE_NODES_PER_SLOT": str(int((hardware.get("coreSummary") or {}).get("numberOfNodes") or 1)),
        API_KEY: api_key,
        **{f"RESCALE_VARIABLE_{name}": value for name, value in values.items() if name.isidentifier()},
        **{str(name): str(value) for name, value in (document.get("envVars") or {}).items()},
    }
    if base_url:
        environment.setdefault("RESCALE_API_BASE_URL", base_url)
    walltime = hardware.get("walltime")
    return Analysis(commands, environment, float(walltime) * hour if walltime else None)


def _file(state: State, given: object) -> Any:
    """Return the record of a file that a document names, by its id or an object with it."""
    file_id = given.get("id") if isinstance(given, Mapping) else given
    file = state.files.get(str(file_id))
    if file is None or file.is_deleted:
        raise StagingError(f"Input file {file_id} was deleted.")
    return file
