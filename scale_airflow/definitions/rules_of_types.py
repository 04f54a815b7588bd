# SPDX-License-Identifier: Apache-2.0
"""Rules for recipe definitions, Strike, trigger rules, types, errors, export and set-up."""

from __future__ import annotations

from typing import Any

from scale_airflow.definitions.configuration_export import ConfigurationExport
from scale_airflow.definitions.error_document import ErrorDocument
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.definitions.job_type_document import JobTypeDocument
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.definitions.recipe_type_document import RecipeTypeDocument
from scale_airflow.definitions.rule_readers import (
    DAYS,
    IMAGE,
    TILES,
    Rule,
    clock_rule_for,
    ingest_rule_for,
    recipe,
    strike,
)
from scale_airflow.definitions.setup_document import SetupDocument
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.definitions.workspace_document import WorkspaceDocument

_RECIPE = "recipe definition"
_IMAGE = {"name": "image", "type": "file", "media_types": ["image/png"]}
_TO_IMAGE = [{"recipe_input": "image", "job_input": "image"}]


def _job(name: str, *needs: str, **fields: Any) -> dict[str, Any]:
    job: dict[str, Any] = {"name": name, "job_type": {"name": "make", "version": "1.0"}, **fields}
    if needs:
        job["dependencies"] = [{"name": each} for each in needs]
    return job


def _fed(**image: Any) -> dict[str, Any]:
    """Return a recipe that passes its one input to the image of a job."""
    return {"input_data": [{**_IMAGE, **image}], "jobs": [_job("a", recipe_inputs=_TO_IMAGE)]}


def _strike(**rule: Any) -> dict[str, Any]:
    rules = [{"filename_regex": ".*h5", "workspace_path": "in", "workspace_name": "raw", **rule}]
    return {"mount": "host:/in", "transfer_suffix": "_tmp", "files_to_ingest": rules}


def _ingest(name: str = "image", workspace: str = "raw") -> dict[str, Any]:
    return {"data": {"input_data_name": name, "workspace_name": workspace}}


def _clock(**fields: Any) -> dict[str, Any]:
    return {"event_type": "DAILY", "schedule": "P1D", **fields}


RULES = (
    Rule(
        "recipe-definition.duplicate-input",
        _RECIPE,
        "No two inputs have the same name.",
        "Recipe Definition, input_data, name",
        {"input_data": [_IMAGE, _IMAGE], "jobs": []},
        "/input_data/1/name",
        RecipeDefinition.parse,
    ),
    Rule(
        "recipe-definition.duplicate-job",
        _RECIPE,
        "No two jobs have the same name.",
        "Recipe Definition, jobs, name",
        {"jobs": [_job("a"), _job("a")]},
        "/jobs/1/name",
        RecipeDefinition.parse,
    ),
    Rule(
        "recipe-definition.unknown-recipe-input",
        _RECIPE,
        "Connections use inputs that the recipe has.",
        "Recipe Definition, recipe_inputs, recipe_input",
        {"jobs": [_job("a", recipe_inputs=_TO_IMAGE)]},
        "/jobs/0/recipe_inputs/0/recipe_input",
        RecipeDefinition.parse,
    ),
    Rule(
        "recipe-definition.unknown-dependency",
        _RECIPE,
        "A job depends on jobs of the same recipe.",
        "Recipe Definition, dependencies, name",
        {"jobs": [_job("detect", "make")]},
        "/jobs/0/dependencies/0/name",
        RecipeDefinition.parse,
    ),
    Rule(
        "recipe-definition.circular-dependency",
        _RECIPE,
        "Dependencies do not run in a circle.",
        "Recipe Definition, dependencies: circular job dependencies are invalid",
        {"jobs": [_job("a", "b"), _job("b", "a")]},
        "/jobs/0/dependencies",
        RecipeDefinition.parse,
    ),
    Rule(
        "recipe-definition.duplicate-connection",
        _RECIPE,
        "Only one thing is passed to an input of a job.",
        "Recipe Definition, recipe_inputs, connections",
        {"input_data": [_IMAGE], "jobs": [_job("a", recipe_inputs=_TO_IMAGE * 2)]},
        "/jobs/0/recipe_inputs/1/job_input",
        RecipeDefinition.parse,
    ),
    Rule(
        "recipe-definition.unknown-job-type",
        _RECIPE,
        "Every job type exists in the version that is named.",
        "Recipe Definition, job_type",
        {"jobs": [{"name": "a", "job_type": {"name": "make", "version": "2.0"}}]},
        "/jobs/0/job_type",
        recipe,
    ),
    Rule(
        "recipe-definition.missing-input",
        _RECIPE,
        "Something is passed to every required input of a job.",
        "Recipe Definition; Job Interface, input_data, required",
        {"jobs": [_job("a")]},
        "/jobs/0",
        recipe,
    ),
    Rule(
        "recipe-definition.optional-to-required",
        _RECIPE,
        "What may be missing is not passed to a required input.",
        "Recipe Definition; Job Interface, required",
        _fed(required=False),
        "/jobs/0/recipe_inputs/0",
        recipe,
    ),
    Rule(
        "recipe-definition.files-to-file",
        _RECIPE,
        "Several files are not passed to an input for a single file.",
        "Job Interface, file",
        _fed(type="files"),
        "/jobs/0/recipe_inputs/0",
        recipe,
    ),
    Rule(
        "recipe-definition.type-mismatch",
        _RECIPE,
        "Texts are passed to property inputs, files to file inputs.",
        "Job Interface, input_data, type",
        {"input_data": [{"name": "image", "type": "property"}], "jobs": [_job("a", recipe_inputs=_TO_IMAGE)]},
        "/jobs/0/recipe_inputs/0",
        recipe,
    ),
    Rule(
        "strike-configuration.filename-regex",
        "Strike configuration",
        "The expression is valid and can be matched in linear time: no look-around, no backreferences.",
        "Strike, filename_regex; this project: linear time",
        _strike(filename_regex="(?=.*h5).*"),
        "/files_to_ingest/0/filename_regex",
        StrikeConfiguration.parse,
    ),
    Rule(
        "workspace.unknown",
        "Strike configuration, trigger rules",
        "The workspace exists.",
        "Strike, workspace_name; Triggers, workspace_name",
        _strike(workspace_name="row"),
        "/files_to_ingest/0/workspace_name",
        strike,
    ),
    Rule(
        "workspace.inactive",
        "Strike configuration, trigger rules",
        "The workspace is active.",
        "Workspace Services, is_active",
        _strike(workspace_name="old"),
        "/files_to_ingest/0/workspace_name",
        strike,
    ),
    Rule(
        "workspace.base-url",
        "workspace",
        "The base URL is an address of the web: with the scheme http, https, ftp or ftps, and a host.",
        "Workspace Services, base_url; this project: pages make links of it",
        {"base_url": "javascript:alert(1)"},
        "/base_url",
        WorkspaceDocument.parse_changes,
    ),
    Rule(
        "trigger-rule.unknown-input",
        "trigger rules",
        "The input that gets the data exists.",
        "Triggers, input_data_name",
        _ingest("imag"),
        "/data/input_data_name",
        ingest_rule_for(TILES),
    ),
    Rule(
        "trigger-rule.property-input",
        "ingest and parse trigger rules",
        "The input that gets the file takes files.",
        "Triggers, input_data_name",
        _ingest("days"),
        "/data/input_data_name",
        ingest_rule_for(DAYS),
    ),
    Rule(
        "trigger-rule.missing-input",
        "trigger rules",
        "The rule gives every required input its data.",
        "Triggers, data; Job Interface, required",
        _ingest(),
        "/data",
        ingest_rule_for(IMAGE, DAYS),
    ),
    Rule(
        "trigger-rule.file-input",
        "clock trigger rule",
        "A clock rule starts only types that require no file.",
        "this project: clock rules over REST",
        _clock(),
        "",
        clock_rule_for(IMAGE),
    ),
    Rule(
        "trigger-rule.missing-workspace",
        "clock trigger rule",
        "There is a workspace if what is started produces files.",
        "this project: clock rules over REST",
        _clock(data={"input_data": []}),
        "/data",
        clock_rule_for(has_outputs=True),
    ),
    Rule(
        "trigger-rule.missing-type",
        "job type, recipe type",
        "A rule with a configuration has a type, unless the type of an existing rule stays.",
        "Create Job Type, trigger_rule",
        {"trigger_rule": {"configuration": _ingest()}},
        "/trigger_rule",
        RecipeTypeDocument.parse_changes,
    ),
    Rule(
        "trigger-rule.missing-configuration",
        "job type, recipe type",
        "A new rule has a configuration.",
        "Create Job Type, trigger_rule",
        {"trigger_rule": {"type": "INGEST"}},
        "/trigger_rule",
        RecipeTypeDocument.parse_changes,
    ),
    Rule(
        "job-type.system",
        "configuration export",
        "System job types, and the category `system`, are not imported.",
        "Import/Export; this project: `is_system: true` is refused",
        {"name": "scale-clock", "version": "1.0", "is_system": True},
        "/is_system",
        JobTypeDocument.parse_import,
    ),
    Rule(
        "job-type-configuration.docker-parameter",
        "job type configuration",
        "Docker parameters come from a list: none of them opens the host to the container.",
        "this project",
        {"docker_params": [["volume", "/:/host"]]},
        "/docker_params/0/0",
        JobTypeConfiguration.parse,
    ),
    Rule(
        "job-type-configuration.docker-value",
        "job type configuration",
        "A Docker parameter's value has the form that it needs.",
        "this project",
        {"docker_params": [["ulimit", "many"]]},
        "/docker_params/0/1",
        JobTypeConfiguration.parse,
    ),
    Rule(
        "job-type-configuration.remote-local",
        "job type configuration",
        "Jobs that run on Rescale ask for no GPUs, shared memory or Docker parameters of a node.",
        "this project",
        {"gpus_required": 1, "remote": {"type": "rescale"}},
        "/gpus_required",
        JobTypeConfiguration.parse,
    ),
    Rule(
        "job-type-configuration.remote-category",
        "job type configuration",
        "A category of core types goes with the cheapest one alone.",
        "this project",
        {"remote": {"type": "rescale", "hardware": {"coreType": "emerald", "category": "gpu"}}},
        "/remote/hardware/category",
        JobTypeConfiguration.parse,
    ),
    Rule(
        "error.system-category",
        "error",
        "The category SYSTEM is reserved.",
        "Create Error, category; this project: also for edits",
        {"category": "SYSTEM"},
        "/category",
        ErrorDocument.parse_changes,
    ),
    Rule(
        "configuration.duplicate-entry",
        "configuration export",
        "No error, job type or recipe type is there twice.",
        "Import/Export: identified by name, or name and version",
        {"errors": [{"name": "bad-data"}, {"name": "bad-data"}]},
        "/errors/1",
        ConfigurationExport.parse,
    ),
    Rule(
        "setup.duplicate-name",
        "set-up",
        "No two workspaces and no two Strike processes have the same name.",
        "this project",
        {
            "workspaces": [
                {"name": "raw", "json_config": {"broker": {"type": "host", "path": "/data"}}},
                {"name": "raw", "json_config": {"broker": {"type": "host", "path": "/data"}}},
            ]
        },
        "/workspaces/1/name",
        SetupDocument.parse,
    ),
)
