# SPDX-License-Identifier: Apache-2.0
"""Nodes, the scheduler and the state of the whole system in answers."""

from __future__ import annotations

from scale_airflow.api_plugin.models.kinds import (
    flag,
    many,
    maybe,
    model,
    moment,
    moment_or_null,
    number,
    of,
    text,
    whole,
)
from scale_airflow.api_plugin.models.types import ARCHIVED, CREATED, ID, LAST_MODIFIED

_NODE = {
    "id": ID,
    "hostname": text("The full name of the host.", "host.com"),
    "port": whole("The port of the worker's log server.", 5051),
    "slave_id": text("The identifier of its agent.", "20150616-103057-1800454536-5050-6193-S2"),
}
NODE_BRIEF = model("NodeBrief", "A node inside of something else.", _NODE)
NODE = model(
    "Node",
    "A host on which jobs run.",
    {
        **_NODE,
        "pause_reason": maybe(text("Why it is paused; null where nobody has said.", "A new disk")),
        "is_paused": flag("Whether it takes no new jobs."),
        "is_paused_errors": flag("Whether it was paused because of its many errors."),
        "is_active": flag("Whether it is in service.", example=True),
        "archived": ARCHIVED,
        "created": CREATED,
        "last_offer": moment_or_null("When its agent was last heard of."),
        "last_modified": LAST_MODIFIED,
    },
)
_AMOUNT = model(
    "Resources",
    "An amount of what jobs need.",
    {
        "cpus": number("CPUs.", 8.0),
        "mem": number("Memory in MiB.", 16384.0),
        "disk": number("Disk in MiB.", 100000.0),
    },
)
RESOURCES = model(
    "ResourceUse",
    "What there is, and what of it is used.",
    {
        "total": of(_AMOUNT, "All that there is."),
        "scheduled": of(_AMOUNT, "What was given to executions."),
        "used": of(_AMOUNT, "What is used in this moment; it is not measured, and always zero."),
    },
)
SCHEDULER = model(
    "Scheduler", "The switch of the whole system.", {"is_paused": flag("Whether nothing new starts.")}
)
STATUS = model(
    "Status",
    "The state of the whole system.",
    {
        "master": of(
            model(
                "MasterStatus",
                "The API server that answers.",
                {
                    "is_online": flag("Whether it runs: true.", example=True),
                    "hostname": text("Its host.", "host.com"),
                    "port": whole("Its port.", 8080),
                },
            ),
            "The API server that answers.",
        ),
        "scheduler": of(
            model(
                "SchedulerStatus",
                "Airflow's scheduler, and Scale's switch.",
                {
                    "is_online": flag("Whether its heart beats.", example=True),
                    "is_paused": flag("Whether nothing new starts."),
                    "hostname": maybe(text("Its host; null if it never ran.", "host.com")),
                },
            ),
            "Airflow's scheduler.",
        ),
        "queue_depth": whole("How many jobs are QUEUED.", 1234),
        "resources": of(RESOURCES, "What all nodes that answer have; missing if there are none."),
    },
    optional=("resources",),
)
VERSION = model("Version", "The version of this installation.", {"version": text("The version.", "1.0.0")})
QUEUE_STATUS = model(
    "QueueStatus",
    "What waits.",
    {
        "queue_status": many(
            model(
                "QueueRow",
                "Queued jobs of a job type.",
                {
                    "count": whole("How many there are.", 19),
                    "longest_queued": moment("When the first of them was queued."),
                    "job_type_name": text("The name of the job type.", "my-job"),
                    "job_type_version": text("The version of the job type.", "1.0"),
                    "highest_priority": whole("The most urgent priority of them.", 1),
                    "is_job_type_paused": flag("Whether the job type is paused."),
                },
            ),
            "One row for each job type and version, the most urgent first.",
        )
    },
)
