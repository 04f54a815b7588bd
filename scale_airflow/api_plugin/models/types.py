# SPDX-License-Identifier: Apache-2.0
"""Errors, workspaces, job types, recipe types and trigger rules in answers."""

from __future__ import annotations

from scale_airflow.api_plugin.models.kinds import (
    Schema,
    document,
    flag,
    many,
    maybe,
    model,
    moment,
    moment_or_null,
    number,
    of,
    reference,
    text,
    whole,
)

ID = whole("The unique identifier.")
CREATED = moment("When it was created.")
LAST_MODIFIED = moment("When it was last changed.")
ARCHIVED = moment_or_null("When it was taken out of use.")
TITLE = maybe(text("A title for people.", "My Title"))
DESCRIPTION = maybe(text("What it is, for people.", "What it is for."))
STATUSES = ("PENDING", "BLOCKED", "QUEUED", "RUNNING", "FAILED", "COMPLETED", "CANCELED")
INTERFACE = document(
    "The inputs, outputs and command line (Job Interface 1.0).",
    {"version": "1.0", "command": "run", "command_arguments": "${input}", "input_data": []},
)
DEFINITION = document(
    "The inputs and jobs (Recipe Definition 1.0).", {"version": "1.0", "input_data": [], "jobs": []}
)

ERROR = model(
    "Error",
    "Why jobs fail.",
    {
        "id": ID,
        "name": text("The unique name.", "bad-data"),
        "title": TITLE,
        "description": DESCRIPTION,
        "category": text("Whose fault it is.", choices=("DATA", "ALGORITHM", "SYSTEM")),
        "created": CREATED,
        "last_modified": LAST_MODIFIED,
    },
)

WORKSPACE = model(
    "Workspace",
    "Where files are stored.",
    {
        "id": ID,
        "name": text("The unique name.", "raw"),
        "title": TITLE,
        "description": DESCRIPTION,
        "base_url": maybe(
            text("Below which address its files are served, if they are.", "http://host.com/rs")
        ),
        "is_active": flag("Whether files may be stored in it.", example=True),
        "used_size": maybe(whole("Used bytes; null where nobody has measured them.", 1024)),
        "total_size": maybe(whole("All bytes; null where nobody has measured them.", 4096)),
        "created": CREATED,
        "archived": ARCHIVED,
        "last_modified": LAST_MODIFIED,
    },
)
WORKSPACE_DETAILS = model(
    "WorkspaceDetails",
    "A workspace with its configuration.",
    {
        "is_move_enabled": flag("Whether parse results may move files in it.", example=True),
        "json_config": document(
            "Its broker (Workspace Configuration 1.0).",
            {"version": "1.0", "broker": {"type": "nfs", "mount": "host:/my/path"}},
        ),
    },
    base=WORKSPACE,
)

TRIGGER_RULE = model(
    "TriggerRule",
    "When jobs or recipes start by themselves.",
    {
        "id": ID,
        "type": text("What it looks at.", choices=("PARSE", "INGEST", "CLOCK")),
        "name": text("Its name; may be empty.", "my-rule"),
        "is_active": flag("Whether it fires.", example=True),
        "configuration": document("Its condition and data, by the type.", {"version": "1.0"}),
        "created": CREATED,
        "archived": ARCHIVED,
        "last_modified": LAST_MODIFIED,
    },
)

JOB_TYPE_BRIEF = model(
    "JobTypeBrief",
    "A job type inside of something else.",
    {
        "id": ID,
        "name": text("The name; unique with the version.", "kml-footprint"),
        "version": text("The version.", "1.0.0"),
        "title": TITLE,
        "description": DESCRIPTION,
        "category": maybe(text("To group job types by.", "footprint")),
        "author_name": maybe(text("Who wrote the algorithm.", "Somebody")),
        "author_url": maybe(text("Where more about it is.", "http://www.example.com")),
        "is_system": flag("Whether it is Scale's own."),
        "is_long_running": flag("Whether its jobs run for as long as there is work."),
        "is_active": flag("Whether it is in use.", example=True),
        "is_operational": flag("Whether its products are ready for use.", example=True),
        "is_paused": flag("Whether none of its jobs starts for now."),
        "icon_code": maybe(text("The icon, by its code in Font Awesome.", "f0ac")),
    },
)
JOB_TYPE = model(
    "JobType",
    "A job type in a list.",
    {
        "uses_docker": flag("Whether its jobs run in containers.", example=True),
        "docker_privileged": flag("Whether these containers are privileged."),
        "docker_image": maybe(text("The image of these containers.", "registry/image:1.0")),
        "revision_num": whole("The number of its latest revision, from 1 on."),
        "priority": whole("The priority of its jobs; lower runs first.", 2),
        "timeout": whole("Seconds after which its jobs are stopped; 0 for never.", 1800),
        "max_scheduled": maybe(whole("How many of its jobs may run at once; null for any number.", 9)),
        "max_tries": whole("How often a job is tried in all.", 3),
        "cpus_required": number("CPUs that a job needs.", 0.5),
        "mem_required": number("Memory that a job needs, in MiB.", 64.0),
        "disk_out_const_required": number("Disk that a job's outputs need, in MiB.", 64.0),
        "disk_out_mult_required": number("Disk that a job's outputs need, as a multiple of its inputs'."),
        "created": CREATED,
        "archived": ARCHIVED,
        "paused": moment_or_null("Since when it is paused."),
        "last_modified": LAST_MODIFIED,
    },
    base=JOB_TYPE_BRIEF,
)
JOB_COUNT = model(
    "JobCount",
    "How many jobs are in a status.",
    {
        "status": text("The status.", choices=STATUSES),
        "count": whole("How many there are.", 3),
        "most_recent": moment_or_null("When the last of them came into it."),
        "category": maybe(
            text("Of FAILED ones the category of their error.", choices=("SYSTEM", "DATA", "ALGORITHM"))
        )
        | {"enum": ["SYSTEM", "DATA", "ALGORITHM", None], "examples": [None]},
    },
)


def _counts(hours: int) -> Schema:
    return many(
        JOB_COUNT, f"How many jobs came into which status in the last {hours} hours; and all that run."
    )


JOB_TYPE_DETAILS = model(
    "JobTypeDetails",
    "A job type with everything about it.",
    {
        "interface": INTERFACE,
        "error_mapping": document(
            "Which error each exit code means (Error Mapping 1.0).",
            {"version": "1.0", "exit_codes": {"1": "unknown"}},
        ),
        "configuration": maybe(document("Further wishes; beyond Scale's specification.")),
        "trigger_rule": maybe(TRIGGER_RULE, "When its jobs start by themselves; null if never."),
        "errors": many(ERROR, "The errors of the mapping."),
        "job_counts_6h": _counts(6),
        "job_counts_12h": _counts(12),
        "job_counts_24h": _counts(24),
    },
    base=JOB_TYPE,
)
TYPE_STATUS = model(
    "JobTypeStatus",
    "How the jobs of a type are doing.",
    {
        "job_type": of(JOB_TYPE_BRIEF, "The job type."),
        "job_counts": many(JOB_COUNT, "How many of its jobs are in which status."),
    },
)
RUNNING_TYPE = model(
    "RunningJobType",
    "A job type of which jobs run.",
    {
        "job_type": of(JOB_TYPE_BRIEF, "The job type."),
        "count": whole("How many of its jobs run."),
        "longest_running": moment("When the one that runs longest started."),
    },
)
SYSTEM_FAILURE = model(
    "SystemFailure",
    "Jobs of a type that FAILED with an error of the system.",
    {
        "job_type": of(JOB_TYPE_BRIEF, "The job type."),
        "error": of(ERROR, "The error."),
        "count": whole("How many jobs failed with it."),
        "first_error": moment("When the first of them failed."),
        "last_error": moment("When the last of them failed."),
    },
)
REVISION_NUM = whole("The number of the revision, from 1 on.")
DAG_ID = maybe(
    text(
        "The DAG that runs it, null for Scale's own work; beyond Scale's specification.",
        "scale-job-one-1-0-r1",
    )
)
JOB_TYPE_REVISION = model(
    "JobTypeRevision",
    "A revision of a job type: it never changes.",
    {
        "id": ID,
        "job_type": reference("The job type."),
        "revision_num": REVISION_NUM,
        "interface": INTERFACE,
        "dag_id": DAG_ID,
        "created": CREATED,
    },
)

RECIPE_TYPE_BRIEF = model(
    "RecipeTypeBrief",
    "A recipe type inside of something else.",
    {
        "id": ID,
        "name": text("The name; unique with the version.", "my-recipe"),
        "version": text("The version.", "1.0.0"),
        "title": TITLE,
        "description": DESCRIPTION,
    },
)
OWNED_RULE = model(
    "OwnedTriggerRule",
    "A trigger rule with what it starts.",
    {
        "job_type": maybe(JOB_TYPE_BRIEF, "The job type that it starts jobs of, if it does."),
        "recipe_type": maybe(RECIPE_TYPE_BRIEF, "The recipe type that it starts recipes of, if it does."),
    },
    base=TRIGGER_RULE,
)
RECIPE_TYPE = model(
    "RecipeType",
    "A recipe type in a list.",
    {
        "is_active": flag("Whether it is in use.", example=True),
        "definition": DEFINITION,
        "revision_num": whole("The number of its latest revision, from 1 on."),
        "created": CREATED,
        "last_modified": LAST_MODIFIED,
        "archived": ARCHIVED,
        "trigger_rule": maybe(reference("When its recipes start by themselves; null if never.")),
    },
    base=RECIPE_TYPE_BRIEF,
)
RECIPE_JOB_TYPE = model(
    "RecipeJobType", "A job type that a recipe type uses.", {"interface": INTERFACE}, base=JOB_TYPE_BRIEF
)
RECIPE_TYPE_DETAILS = model(
    "RecipeTypeDetails",
    "A recipe type with everything about it.",
    {
        "trigger_rule": maybe(TRIGGER_RULE, "When its recipes start by themselves; null if never."),
        "job_types": many(RECIPE_JOB_TYPE, "The job types that it uses."),
    },
    base=RECIPE_TYPE,
)
RECIPE_TYPE_REVISION = model(
    "RecipeTypeRevision",
    "A revision of a recipe type: it never changes.",
    {
        "id": ID,
        "recipe_type": reference("The recipe type."),
        "revision_num": REVISION_NUM,
        "definition": DEFINITION,
        "dag_id": DAG_ID,
        "created": CREATED,
    },
)

WARNINGS = model(
    "Warnings",
    "What should be known of a document that is valid.",
    {
        "warnings": many(
            model(
                "Warning",
                "One warning.",
                {
                    "id": text("Its kind.", "media_type"),
                    "details": text(
                        "What it is about.", "Invalid media type for data input: input_file -> image/png"
                    ),
                },
            ),
            "All warnings; none for a document that is as it should be.",
        )
    },
)
EXPORT = model(
    "Export",
    "Errors, job types and recipe types as one document.",
    {
        "version": text("The version of the document's form.", "1.0"),
        "recipe_types": many(document("As for Create recipe type."), "The recipe types."),
        "job_types": many(document("As for Create job type."), "The job types."),
        "errors": many(document("As for Create error."), "The errors."),
    },
    optional=("recipe_types", "job_types", "errors"),
)
