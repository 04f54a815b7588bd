# SPDX-License-Identifier: Apache-2.0
"""How errors, workspaces, job types, recipe types and trigger rules are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scale_airflow.api_plugin.views.moments import moment
from scale_airflow.services.job_type_status import JobCount, RunningType, SystemFailure, TypeStatus
from scale_airflow.services.rule_lists import OwnedRule
from scale_airflow.store.models import (
    ErrorModel,
    JobType,
    JobTypeRevision,
    RecipeType,
    RecipeTypeRevision,
    TriggerRule,
    Workspace,
)

JsonObject = dict[str, Any]


def error(row: ErrorModel) -> JsonObject:
    """Show an error, in lists and in details alike."""
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "category": row.category,
        "created": moment(row.created),
        "last_modified": moment(row.last_modified),
    }


def workspace_brief(row: Workspace) -> JsonObject:
    """Show a workspace in a list or inside of something else."""
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "base_url": row.base_url,
        "is_active": row.is_active,
        "used_size": row.used_size,
        "total_size": row.total_size,
        "created": moment(row.created),
        "archived": moment(row.archived),
        "last_modified": moment(row.last_modified),
    }


def workspace_details(row: Workspace) -> JsonObject:
    """Show a workspace with its configuration."""
    return {**workspace_brief(row), "is_move_enabled": row.is_move_enabled, "json_config": row.json_config}


def trigger_rule(row: TriggerRule | None) -> JsonObject | None:
    """Show a trigger rule; None where there is none."""
    if row is None:
        return None
    return {
        "id": row.id,
        "type": row.type,
        "name": row.name,
        "is_active": row.is_active,
        "configuration": row.configuration,
        "created": moment(row.created),
        "archived": moment(row.archived),
        "last_modified": moment(row.last_modified),
    }


def owned_rule(found: OwnedRule) -> JsonObject:
    """Show a trigger rule with the job type or recipe type that it starts."""
    job_type, recipe_type = found.job_type, found.recipe_type
    return {
        **(trigger_rule(found.rule) or {}),
        "job_type": None if job_type is None else job_type_brief(job_type),
        "recipe_type": None if recipe_type is None else recipe_type_brief(recipe_type),
    }


def job_type_brief(row: JobType) -> JsonObject:
    """Show a job type inside of something else, such as a job."""
    return {
        "id": row.id,
        "name": row.name,
        "version": row.version,
        "title": row.title,
        "description": row.description,
        "category": row.category,
        "author_name": row.author_name,
        "author_url": row.author_url,
        "is_system": row.is_system,
        "is_long_running": row.is_long_running,
        "is_active": row.is_active,
        "is_operational": row.is_operational,
        "is_paused": row.is_paused,
        "icon_code": row.icon_code,
    }


def job_type(row: JobType) -> JsonObject:
    """Show a job type in a list."""
    return {
        **job_type_brief(row),
        "uses_docker": row.uses_docker,
        "docker_privileged": row.docker_privileged,
        "docker_image": row.docker_image,
        "revision_num": row.revision_num,
        "priority": row.priority,
        "timeout": row.timeout,
        "max_scheduled": row.max_scheduled,
        "max_tries": row.max_tries,
        "cpus_required": row.cpus_required,
        "mem_required": row.mem_required,
        "disk_out_const_required": row.disk_out_const_required,
        "disk_out_mult_required": row.disk_out_mult_required,
        "created": moment(row.created),
        "archived": moment(row.archived),
        "paused": moment(row.paused),
        "last_modified": moment(row.last_modified),
    }


def job_type_details(
    row: JobType, errors: Iterable[ErrorModel], counts: Mapping[int, Iterable[JobCount]]
) -> JsonObject:
    """Show a job type with everything about it.

    :param errors: what its error mapping refers to.
    :param counts: its jobs by status, for each number of hours.
    """
    return {
        **job_type(row),
        "interface": row.interface,
        "error_mapping": row.error_mapping,
        "configuration": row.configuration,
        "trigger_rule": trigger_rule(row.trigger_rule),
        "errors": [error(each) for each in errors],
        **{f"job_counts_{hours}h": [job_count(each) for each in found] for hours, found in counts.items()},
    }


def job_count(row: JobCount) -> JsonObject:
    """Show how many jobs are in a status."""
    return {
        "status": row.status,
        "count": row.count,
        "most_recent": moment(row.most_recent),
        "category": row.category,
    }


def type_status(row: TypeStatus) -> JsonObject:
    """Show how the jobs of a type are doing."""
    return {
        "job_type": job_type_brief(row.job_type),
        "job_counts": [job_count(each) for each in row.job_counts],
    }


def running_type(row: RunningType) -> JsonObject:
    """Show how many jobs of a type run."""
    return {
        "job_type": job_type_brief(row.job_type),
        "count": row.count,
        "longest_running": moment(row.longest_running),
    }


def system_failure(row: SystemFailure) -> JsonObject:
    """Show how many jobs of a type are FAILED with a system error."""
    return {
        "job_type": job_type_brief(row.job_type),
        "error": error(row.error),
        "count": row.count,
        "first_error": moment(row.first_error),
        "last_error": moment(row.last_error),
    }


def job_type_revision(row: JobTypeRevision) -> JsonObject:
    """Show a revision of a job type, with the DAG that runs its jobs."""
    return {
        "id": row.id,
        "job_type": {"id": row.job_type_id},
        "revision_num": row.revision_num,
        "interface": row.interface,
        "dag_id": row.dag_id,
        "created": moment(row.created),
    }


def recipe_type_brief(row: RecipeType) -> JsonObject:
    """Show a recipe type inside of something else, such as a recipe."""
    return {
        "id": row.id,
        "name": row.name,
        "version": row.version,
        "title": row.title,
        "description": row.description,
    }


def recipe_type(row: RecipeType) -> JsonObject:
    """Show a recipe type in a list."""
    return {
        **recipe_type_brief(row),
        "is_active": row.is_active,
        "definition": row.definition,
        "revision_num": row.revision_num,
        "created": moment(row.created),
        "last_modified": moment(row.last_modified),
        "archived": moment(row.archived),
        "trigger_rule": None if row.trigger_rule_id is None else {"id": row.trigger_rule_id},
    }


def recipe_type_details(row: RecipeType, job_types: Iterable[JobType]) -> JsonObject:
    """Show a recipe type with its trigger rule and the job types that it runs."""
    return {
        **recipe_type(row),
        "trigger_rule": trigger_rule(row.trigger_rule),
        "job_types": [{**job_type_brief(each), "interface": each.interface} for each in job_types],
    }


def recipe_type_revision(row: RecipeTypeRevision) -> JsonObject:
    """Show a revision of a recipe type, with the DAG that runs its recipes."""
    return {
        "id": row.id,
        "recipe_type": {"id": row.recipe_type_id},
        "revision_num": row.revision_num,
        "definition": row.definition,
        "dag_id": row.dag_id,
        "created": moment(row.created),
    }
