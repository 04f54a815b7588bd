# SPDX-License-Identifier: Apache-2.0
"""Events, jobs, job executions and recipes in answers."""

from __future__ import annotations

from scale_airflow.api_plugin.models.files import FILE, PRODUCT
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
from scale_airflow.api_plugin.models.nodes import NODE, NODE_BRIEF, RESOURCES
from scale_airflow.api_plugin.models.types import (
    CREATED,
    ERROR,
    ID,
    JOB_COUNT,
    JOB_TYPE,
    JOB_TYPE_BRIEF,
    JOB_TYPE_REVISION,
    LAST_MODIFIED,
    RECIPE_TYPE,
    RECIPE_TYPE_BRIEF,
    RECIPE_TYPE_REVISION,
    REVISION_NUM,
    STATUSES,
    TRIGGER_RULE,
)

EVENT = model(
    "Event",
    "What started a job or recipe.",
    {
        "id": ID,
        "type": text("The kind of event.", "USER"),
        "rule": maybe(reference("The trigger rule that fired; null for a user's request.")),
        "occurred": moment("When it was."),
    },
)
EVENT_DETAILS = model(
    "EventDetails",
    "What started a job or recipe, with its rule.",
    {
        "rule": maybe(TRIGGER_RULE, "The trigger rule that fired; null for a user's request."),
        "description": document("More about it, by the type.", {"user": "somebody"}),
    },
    base=EVENT,
)

_STATUS = text("The state.", choices=STATUSES)
_PRIORITY = whole("The priority; lower runs first.", 2)
_NUM_EXES = whole("How many executions it has had.")
_ERROR = maybe(ERROR, "Why it failed; null if it did not.")
JOB_BASE = model(
    "JobBase",
    "A job inside of something else.",
    {
        "id": ID,
        "job_type": of(JOB_TYPE_BRIEF, "Its type."),
        "job_type_rev": reference("The revision of its type."),
        "event": reference("What started it."),
        "error": maybe(reference("Why it failed; null if it did not.")),
        "status": _STATUS,
        "priority": _PRIORITY,
        "num_exes": _NUM_EXES,
    },
)
_JOB_TYPE_REV = model(
    "JobTypeRevisionBrief",
    "A revision of a job type inside of a job.",
    {"id": ID, "job_type": reference("The job type."), "revision_num": REVISION_NUM},
)
JOB = model(
    "Job",
    "A job in a list.",
    {
        "id": ID,
        "job_type": of(JOB_TYPE_BRIEF, "Its type."),
        "job_type_rev": of(_JOB_TYPE_REV, "The revision of its type."),
        "event": of(EVENT, "What started it."),
        "error": _ERROR,
        "status": _STATUS,
        "priority": _PRIORITY,
        "num_exes": _NUM_EXES,
        "timeout": whole("Seconds after which it is stopped; 0 for never.", 1800),
        "max_tries": whole("How often it is tried in all.", 3),
        "cpus_required": number("CPUs that it needs.", 1.0),
        "mem_required": number("Memory that it needs, in MiB.", 64.0),
        "disk_in_required": number("Disk that its inputs need, in MiB.", 10.0),
        "disk_out_required": number("Disk that its outputs need, in MiB.", 64.0),
        "created": CREATED,
        "queued": moment_or_null("When it was last queued."),
        "started": moment_or_null("When it last started."),
        "ended": moment_or_null("When it ended."),
        "last_status_change": moment_or_null("When its status last changed."),
        "last_modified": LAST_MODIFIED,
    },
)

_EXIT_CODE = maybe(whole("The exit code; null if there is none.", 0))
_EXECUTION: dict[str, Schema] = {
    "id": ID,
    "status": text("The state.", choices=("QUEUED", "RUNNING", "FAILED", "COMPLETED", "CANCELED")),
    "command_arguments": text("The arguments of the command line.", "input.png /out"),
    "timeout": whole("Seconds after which it is stopped; 0 for never.", 1800),
    "pre_started": moment_or_null("When its inputs were begun to be fetched."),
    "pre_completed": moment_or_null("When they were there."),
    "pre_exit_code": _EXIT_CODE,
    "job_started": moment_or_null("When the algorithm started."),
    "job_completed": moment_or_null("When the algorithm ended."),
    "job_exit_code": _EXIT_CODE,
    "post_started": moment_or_null("When its outputs were begun to be stored."),
    "post_completed": moment_or_null("When they were stored."),
    "post_exit_code": _EXIT_CODE,
    "created": CREATED,
    "queued": moment_or_null("When it was queued."),
    "started": moment_or_null("When it started."),
    "ended": moment_or_null("When it ended."),
    "last_modified": LAST_MODIFIED,
}
_EXECUTION_ERROR = {"error": _ERROR}
EXECUTION_OF_JOB = model(
    "ExecutionOfJob",
    "An execution inside of its job.",
    {
        **_EXECUTION,
        "job": reference("The job."),
        "node": maybe(reference("The node that it ran on; null before it ran.")),
        **_EXECUTION_ERROR,
    },
)
EXECUTION = model(
    "JobExecution",
    "An execution in a list: one try of a job.",
    {
        **_EXECUTION,
        "job": of(JOB_BASE, "The job."),
        "node": maybe(NODE_BRIEF, "The node that it ran on; null before it ran."),
        **_EXECUTION_ERROR,
    },
)
_SCHEDULED = {
    "cpus_scheduled": maybe(number("CPUs that it was given.", 1.0)),
    "mem_scheduled": maybe(number("Memory that it was given, in MiB.", 64.0)),
    "disk_in_scheduled": maybe(number("Disk that it was given for its inputs, in MiB.", 10.0)),
    "disk_out_scheduled": maybe(number("Disk that it was given for its outputs, in MiB.", 64.0)),
    "disk_total_scheduled": maybe(number("Disk that it was given in all, in MiB.", 74.0)),
}
EXECUTION_DETAILS = model(
    "JobExecutionDetails",
    "An execution with everything about it.",
    {
        "node": maybe(NODE, "The node that it ran on; null before it ran."),
        "environment": document("Where and with what it ran."),
        **_SCHEDULED,
        "results": document("What it made (Job Results 1.0)."),
        "current_stdout_url": text("Where its standard output is.", "http://host.com/stdout/"),
        "current_stderr_url": text("Where its standard error is.", "http://host.com/stderr/"),
        "results_manifest": maybe(document("What the algorithm says that it made (Results Manifest 1.1).")),
        "message": maybe(text("What went wrong, in words; beyond Scale's specification.", "It timed out.")),
        "warnings": many(text("One.", "…"), "What should be known of it; beyond Scale's specification."),
    },
    base=EXECUTION,
)
EXECUTION_RUNNING = model(
    "RunningExecution",
    "An execution inside of the node that it runs on.",
    {"node": maybe(reference("The node.")), **_SCHEDULED},
    base=EXECUTION,
)
LOGS = model(
    "JobExecutionLogs",
    "An execution with what it wrote.",
    {
        "is_finished": flag("Whether it will write nothing more.", example=True),
        "stdout": text("What it wrote to its standard output.", "Hello\n"),
        "stderr": text("What it wrote to its standard error.", "A warning\n"),
    },
    base=EXECUTION,
)

JOB_UPDATE = model(
    "JobUpdate", "A job with its inputs.", {"input_files": many(FILE, "Its input files.")}, base=JOB
)
JOB_WITH_EXECUTION = model(
    "JobWithExecution",
    "A job with its latest execution.",
    {"latest_job_exe": maybe(EXECUTION_OF_JOB, "Its latest execution; null before its first.")},
    base=JOB,
)


_RECIPE_TYPE_REV = model(
    "RecipeTypeRevisionBrief",
    "A revision of a recipe type inside of a recipe.",
    {"id": ID, "recipe_type": reference("The recipe type."), "revision_num": REVISION_NUM},
)
RECIPE = model(
    "Recipe",
    "A recipe in a list.",
    {
        "id": ID,
        "recipe_type": of(RECIPE_TYPE_BRIEF, "Its type."),
        "recipe_type_rev": of(_RECIPE_TYPE_REV, "The revision of its type."),
        "event": of(EVENT, "What started it."),
        "created": CREATED,
        "completed": moment_or_null("When all of its jobs were COMPLETED."),
        "last_modified": LAST_MODIFIED,
    },
)
_NAMED = {
    "name": text("The name.", "input"),
    "type": text("What kind of value it has.", choices=("property", "file", "files")),
}
INPUT = model(
    "JobInput",
    "An input of a job, with its value.",
    {
        **_NAMED,
        "value": {
            "anyOf": [
                of(FILE),
                {"type": "array", "items": of(FILE)},
                {"type": "string"},
                {"type": "null"},
            ],
            "description": "The file, the files or the text; null where it has none.",
        },
    },
)
OUTPUT = model(
    "JobOutput",
    "An output of a job, with its value.",
    {
        **_NAMED,
        "value": {
            "anyOf": [of(PRODUCT), {"type": "array", "items": of(PRODUCT)}, {"type": "null"}],
            "description": "The product or the products; null before there are any.",
        },
    },
)
JOB_DETAILS = model(
    "JobDetails",
    "A job with everything about it.",
    {
        "why": maybe(text("What a waiting job waits for; beyond Scale's specification.", "It is paused.")),
        "job_type": of(JOB_TYPE, "Its type."),
        "job_type_rev": of(JOB_TYPE_REVISION, "The revision of its type."),
        "event": of(EVENT_DETAILS, "What started it."),
        "data": document("The data that it runs on (Job Data 1.0)."),
        "results": document("What it made (Job Results 1.0)."),
        "recipes": many(RECIPE, "The recipe that it belongs to; none if it was queued alone."),
        "job_exes": many(EXECUTION_OF_JOB, "Its executions, the latest first."),
        "inputs": many(INPUT, "Its inputs with their values."),
        "outputs": many(OUTPUT, "Its outputs with their values."),
        "input_files": many(FILE, "All of its input files."),
        "products": many(PRODUCT, "All of its products."),
    },
    base=JOB,
)
RECIPE_DETAILS = model(
    "RecipeDetails",
    "A recipe with everything about it.",
    {
        "recipe_type": of(RECIPE_TYPE, "Its type."),
        "recipe_type_rev": of(RECIPE_TYPE_REVISION, "The revision of its type."),
        "event": of(EVENT_DETAILS, "What started it."),
        "data": document("The data that it runs on (Recipe Data 1.0)."),
        "input_files": many(FILE, "Its input files."),
        "jobs": many(
            model(
                "RecipeJob",
                "A job of a recipe.",
                {
                    "job_name": text("Its name in the recipe.", "one"),
                    "job": of(
                        model(
                            "JobOfRecipe",
                            "A job, with the revision of its type.",
                            {"job_type_rev": of(JOB_TYPE_REVISION, "The revision of its type.")},
                            base=JOB,
                        ),
                        "The job.",
                    ),
                    "recipe": reference("The recipe; beyond Scale's specification."),
                },
            ),
            "Its jobs.",
        ),
    },
    base=RECIPE,
)
QUEUED_JOBS = model(
    "QueuedJobs",
    "Jobs that were queued with one request.",
    {
        "count": whole("How many they are.", 1),
        "results": many(
            model(
                "QueuedJob",
                "A new job.",
                {"id": ID, "job_exe": reference("Its first execution.")},
            ),
            "The jobs, in the order of the request.",
        ),
    },
)
NODE_STATUS = model(
    "NodeStatus",
    "How a node is doing.",
    {
        "node": of(NODE, "The node."),
        "is_online": flag("Whether its agent answers.", example=True),
        "job_exe_counts": many(JOB_COUNT, "How many of its executions are in which status."),
        "job_exes_running": many(EXECUTION_RUNNING, "What runs on it."),
    },
)
NODE_DETAILS = model(
    "NodeDetails",
    "A node with its resources and what runs on it.",
    {
        "job_exes_running": many(EXECUTION_RUNNING, "What runs on it."),
        "resources": of(RESOURCES, "What it has, and what of it is used; missing if it does not answer."),
        "disconnected": flag("True if it does not answer; missing if it does.", example=True),
    },
    base=NODE,
    optional=("resources", "disconnected"),
)
