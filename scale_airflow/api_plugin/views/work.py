# SPDX-License-Identifier: Apache-2.0
"""Events, jobs, job executions and recipes as answers show them.

Each is shown in three depths: a base inside of something else, the form of lists, and the details. What a
form needs of related rows must be loaded, see the ``*_FORM`` options of
:mod:`scale_airflow.services.work_lists`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scale_airflow.api_plugin.links import Links
from scale_airflow.api_plugin.views.files import file_base, product
from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.api_plugin.views.nodes import node, node_brief
from scale_airflow.api_plugin.views.types import (
    error,
    job_count,
    job_type,
    job_type_brief,
    job_type_revision,
    recipe_type,
    recipe_type_brief,
    recipe_type_revision,
    trigger_rule,
)
from scale_airflow.services.node_control import NodeDetails
from scale_airflow.services.node_status import NodeStatus
from scale_airflow.services.work_details import JobDetails, RecipeDetails
from scale_airflow.services.work_lists import JobUpdate
from scale_airflow.store.models import Job, JobExecution, Recipe, TriggerEvent

JsonObject = dict[str, Any]


def reference(row_id: int | None) -> JsonObject | None:
    """Show something by its id alone; None where there is nothing."""
    return None if row_id is None else {"id": row_id}


def event_brief(row: TriggerEvent) -> JsonObject:
    """Show a trigger event in a list."""
    return {
        "id": row.id,
        "type": row.type,
        "rule": reference(row.rule_id),
        "occurred": moment(row.occurred),
    }


def event_details(row: TriggerEvent) -> JsonObject:
    """Show a trigger event with its rule and description (specification: Trigger Event Details)."""
    return {**event_brief(row), "rule": trigger_rule(row.rule), "description": row.description}


def job_base(row: Job) -> JsonObject:
    """Show a job inside of an execution or Strike process."""
    return {
        "id": row.id,
        "job_type": job_type_brief(row.job_type),
        "job_type_rev": {"id": row.job_type_rev_id},
        "event": {"id": row.event_id},
        "error": reference(row.error_id),
        "status": row.status,
        "priority": row.priority,
        "num_exes": row.num_exes,
    }


def job(row: Job) -> JsonObject:
    """Show a job in a list (specification: Job List)."""
    return {
        "id": row.id,
        "job_type": job_type_brief(row.job_type),
        "job_type_rev": {
            "id": row.job_type_rev_id,
            "job_type": {"id": row.job_type_id},
            "revision_num": row.job_type_rev.revision_num,
        },
        "event": event_brief(row.event),
        "error": None if row.error is None else error(row.error),
        "status": row.status,
        "priority": row.priority,
        "num_exes": row.num_exes,
        "timeout": row.timeout,
        "max_tries": row.max_tries,
        "cpus_required": row.cpus_required,
        "mem_required": row.mem_required,
        "disk_in_required": row.disk_in_required,
        "disk_out_required": row.disk_out_required,
        "created": moment(row.created),
        "queued": moment(row.queued),
        "started": moment(row.started),
        "ended": moment(row.ended),
        "last_status_change": moment(row.last_status_change),
        "last_modified": moment(row.last_modified),
    }


def job_update(found: JobUpdate, links: Links) -> JsonObject:
    """Show a job with its input files (specification: Job Updates)."""
    return {**job(found.job), "input_files": [file_base(each, links) for each in found.input_files]}


def job_with_execution(row: Job) -> JsonObject:
    """Show a job with its latest execution (specification: Job with Execution List)."""
    latest = row.latest_execution
    return {**job(row), "latest_job_exe": None if latest is None else execution_of_job(latest)}


def job_details(found: JobDetails, links: Links) -> JsonObject:
    """Show a job with everything about it (specification: Job Details).

    ``why`` says what a waiting job waits for; the specification does not have it.
    """
    row = found.job
    interface = row.job_type_rev.interface
    return {
        **job(row),
        "why": found.why,
        "job_type": job_type(row.job_type),
        "job_type_rev": job_type_revision(row.job_type_rev),
        "event": event_details(row.event),
        "data": row.data,
        "results": row.results,
        "recipes": [recipe(each) for each in found.recipes],
        "job_exes": [execution_of_job(each) for each in found.executions],
        "inputs": _merged(
            interface.get("input_data", ()),
            row.data.get("input_data", ()),
            {number: file_base(each, links) for number, each in found.files.items()},
        ),
        "outputs": _merged(
            interface.get("output_data", ()),
            row.results.get("output_data", ()),
            {each.id: product(each, links) for each in found.products},
        ),
        "input_files": [file_base(each, links) for each in found.input_files],
        "products": [product(each, links) for each in found.products],
    }


def _merged(
    declared: Iterable[Mapping[str, Any]],
    given: Iterable[Mapping[str, Any]],
    files: Mapping[int, JsonObject],
) -> list[JsonObject]:
    """Merge an interface's inputs or outputs with their values; what has none yet is null."""
    values = {each.get("name"): each for each in given}
    merged = []
    for each in declared:
        value: Any = None
        has = values.get(each["name"], {})
        if "value" in has:
            value = has["value"]
        elif "file_ids" in has:
            value = [files[file_id] for file_id in has["file_ids"] if file_id in files]
        elif "file_id" in has:
            value = files.get(has["file_id"])
            if each["type"] == "files":
                value = [] if value is None else [value]
        merged.append({"name": each["name"], "type": each["type"], "value": value})
    return merged


def _execution(row: JobExecution) -> JsonObject:
    return {
        "id": row.id,
        "status": row.status,
        "command_arguments": row.command_arguments,
        "timeout": row.timeout,
        "pre_started": moment(row.pre_started),
        "pre_completed": moment(row.pre_completed),
        "pre_exit_code": row.pre_exit_code,
        "job_started": moment(row.job_started),
        "job_completed": moment(row.job_completed),
        "job_exit_code": row.job_exit_code,
        "post_started": moment(row.post_started),
        "post_completed": moment(row.post_completed),
        "post_exit_code": row.post_exit_code,
        "created": moment(row.created),
        "queued": moment(row.queued),
        "started": moment(row.started),
        "ended": moment(row.ended),
        "last_modified": moment(row.last_modified),
    }


def execution_of_job(row: JobExecution) -> JsonObject:
    """Show an execution inside of its job: only references to job and node."""
    return {
        **_execution(row),
        "job": {"id": row.job_id},
        "node": reference(row.node_id),
        "error": None if row.error is None else error(row.error),
    }


def execution(row: JobExecution) -> JsonObject:
    """Show an execution in a list (specification: Job Execution List)."""
    return {
        **_execution(row),
        "job": job_base(row.job),
        "node": node_brief(row.node),
        "error": None if row.error is None else error(row.error),
    }


def execution_running(row: JobExecution) -> JsonObject:
    """Show an execution in the details of the node that it runs on (specification: Node Details)."""
    return {**execution(row), "node": reference(row.node_id), **_scheduled(row)}


def _scheduled(row: JobExecution) -> JsonObject:
    return {
        "cpus_scheduled": row.cpus_scheduled,
        "mem_scheduled": row.mem_scheduled,
        "disk_in_scheduled": row.disk_in_scheduled,
        "disk_out_scheduled": row.disk_out_scheduled,
        "disk_total_scheduled": row.disk_total_scheduled,
    }


def execution_details(row: JobExecution, links: Links) -> JsonObject:
    """Show an execution with everything about it (specification: Job Execution Details).

    ``message`` (why it failed, in words) and ``warnings`` are beyond the specification.
    """
    logs = f"/job-executions/{row.id}/logs"
    return {
        **execution(row),
        "node": None if row.node is None else node(row.node),
        "environment": row.environment,
        **_scheduled(row),
        "results": row.results,
        "current_stdout_url": links.to(f"{logs}/stdout/"),
        "current_stderr_url": links.to(f"{logs}/stderr/"),
        "results_manifest": row.results_manifest,
        "message": row.message,
        "warnings": row.warnings,
    }


def recipe(row: Recipe) -> JsonObject:
    """Show a recipe in a list (specification: Recipe List)."""
    return {
        "id": row.id,
        "recipe_type": recipe_type_brief(row.recipe_type),
        "recipe_type_rev": {
            "id": row.recipe_type_rev_id,
            "recipe_type": {"id": row.recipe_type_id},
            "revision_num": row.recipe_type_rev.revision_num,
        },
        "event": event_brief(row.event),
        "created": moment(row.created),
        "completed": moment(row.completed),
        "last_modified": moment(row.last_modified),
    }


def recipe_details(found: RecipeDetails, links: Links) -> JsonObject:
    """Show a recipe with everything about it (specification: Recipe Details)."""
    row = found.recipe
    return {
        **recipe(row),
        "recipe_type": recipe_type(row.recipe_type),
        "recipe_type_rev": recipe_type_revision(row.recipe_type_rev),
        "event": event_details(row.event),
        "data": row.data,
        "input_files": [file_base(each, links) for each in found.input_files],
        "jobs": [
            {
                "job_name": each.recipe_job_name,
                "job": {**job(each), "job_type_rev": job_type_revision(each.job_type_rev)},
                "recipe": {"id": row.id},
            }
            for each in found.jobs
        ],
    }


def node_details(found: NodeDetails) -> JsonObject:
    """Show a node with its resources and what runs on it (specification: Node Details)."""
    row = found.node
    shown = {
        **node(row),
        "job_exes_running": [execution_running(each) for each in found.executions],
    }
    if not found.is_connected:
        return {**shown, "disconnected": True}
    if row.is_active:
        shown["resources"] = {
            "total": {"cpus": row.cpus, "mem": row.mem_mib, "disk": row.disk_mib},
            "scheduled": {
                "cpus": found.scheduled.cpus,
                "mem": found.scheduled.mem_mib,
                "disk": found.scheduled.disk_mib,
            },
            "used": {"cpus": 0.0, "mem": 0.0, "disk": 0.0},
        }
    return shown


def node_status(found: NodeStatus) -> JsonObject:
    """Show how a node and what runs on it are doing (specification: Nodes Status)."""
    return {
        "node": node(found.node),
        "is_online": found.is_online,
        "job_exe_counts": [job_count(each) for each in found.counts],
        "job_exes_running": [execution_running(each) for each in found.running],
    }
