# SPDX-License-Identifier: Apache-2.0
"""Strike processes, ingests, metrics and load in answers."""

from __future__ import annotations

from scale_airflow.api_plugin.models.files import DATA_TYPE, MEDIA_TYPE, SOURCE
from scale_airflow.api_plugin.models.kinds import (
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
from scale_airflow.api_plugin.models.types import CREATED, DESCRIPTION, ID, LAST_MODIFIED, TITLE
from scale_airflow.api_plugin.models.work import JOB_BASE

STRIKE_CREATED = model(
    "StrikeCreated", "A new Strike process.", {"strike_id": whole("Its unique identifier.")}
)
STRIKE = model(
    "Strike",
    "A process that watches a directory.",
    {
        "id": ID,
        "name": text("The unique name.", "my-strike"),
        "title": TITLE,
        "description": DESCRIPTION,
        "job": maybe(JOB_BASE, "The job that it runs as."),
        "created": CREATED,
        "last_modified": LAST_MODIFIED,
    },
)
STRIKE_DETAILS = model(
    "StrikeDetails",
    "A Strike process with its configuration.",
    {"configuration": document("What it watches (Strike Configuration 1.0).", {"version": "1.0"})},
    base=STRIKE,
)
_IS_ACTIVE = {"is_active": flag("Whether it watches its directory.", example=True)}
STRIKE_IN_LIST = model("StrikeInList", "A Strike process in a list.", _IS_ACTIVE, base=STRIKE)
WHOLE_STRIKE = model(
    "WholeStrike", "A Strike process with everything about it.", _IS_ACTIVE, base=STRIKE_DETAILS
)
INGEST = model(
    "Ingest",
    "The way of a file into a workspace.",
    {
        "id": ID,
        "file_name": text("The name of the file.", "scene.h5"),
        "strike": of(
            model(
                "IngestStrike",
                "A Strike process inside of an ingest.",
                {"id": ID, "job": maybe(reference("The job that it runs as."))},
            ),
            "The Strike process that saw it.",
        ),
        "status": text(
            "How far it is.",
            choices=(
                *("TRANSFERRING", "TRANSFERRED", "DEFERRED", "QUEUED", "INGESTING", "INGESTED"),
                *("ERRORED", "DUPLICATE"),
            ),
        ),
        "bytes_transferred": whole("Bytes that have arrived.", 1024),
        "transfer_started": moment_or_null("When it began to arrive."),
        "transfer_ended": moment_or_null("When it had arrived."),
        "media_type": MEDIA_TYPE,
        "file_size": maybe(whole("The size in bytes; null while it arrives.", 1024)),
        "data_type": DATA_TYPE,
        "ingest_started": moment_or_null("When it began to be copied into its workspace."),
        "ingest_ended": moment_or_null("When it was there."),
        "source_file": maybe(SOURCE, "The source file; null before there is one."),
        "created": CREATED,
        "last_modified": LAST_MODIFIED,
    },
)
_PATH = "relative to the Strike process's directory"
INGEST_DETAILS = model(
    "IngestDetails",
    "An ingest with everything about it.",
    {
        "strike": of(STRIKE_DETAILS, "The Strike process that saw it."),
        "transfer_path": text(f"Where it arrived, {_PATH}.", "scene.h5_tmp"),
        "file_path": text("Where it is stored, relative to its workspace.", "my/path/scene.h5"),
        "ingest_path": text(f"Where it waited to be copied, {_PATH}.", "ingesting/scene.h5"),
        "message": maybe(text("Why it was not ingested; beyond Scale's specification.", "No rule takes it.")),
    },
    base=INGEST,
)
_AMOUNT = {"files": whole("How many files.", 60), "size": whole("Their bytes.", 6000)}
INGEST_STATUS = model(
    "IngestStatus",
    "What a Strike process has brought in.",
    {
        "strike": of(STRIKE, "The Strike process."),
        "most_recent": moment_or_null("When the last file was."),
        **_AMOUNT,
        "values": many(
            model("IngestHour", "An hour of it.", {"time": moment("The hour's beginning."), **_AMOUNT}),
            "Each hour of the time range, those without files too.",
        ),
    },
)

_NAMED = {
    "name": text("The name.", "completed_count"),
    "title": text("The title.", "Completed Count"),
    "description": text("What it is.", "Jobs that were completed."),
}
METRICS_COLUMN = model(
    "MetricsColumn",
    "A column of a metrics type.",
    {
        **_NAMED,
        "units": text("What its values are counted in.", "count"),
        "group": text("The group that it belongs to.", "overview"),
        "aggregate": text("How values of several choices become one.", choices=("sum", "min", "max", "avg")),
    },
)
METRICS_TYPE = model(
    "MetricsType",
    "Something of which there are metrics.",
    {
        "name": text("The name.", "job-types"),
        "title": text("The title.", "Job Types"),
        "description": text("What it is.", "Metrics for jobs, by their types."),
        "filters": many(
            model(
                "MetricsFilter",
                "A parameter that choices are found by.",
                {"param": text("Its name.", "name"), "type": text("Its type.", "string")},
            ),
            "What choices can be found by.",
        ),
        "groups": many(model("MetricsGroup", "A group of columns.", _NAMED), "The groups of columns."),
        "columns": many(METRICS_COLUMN, "The columns."),
    },
)
METRICS_DETAILS = model(
    "MetricsDetails",
    "A metrics type with its choices.",
    {"choices": many(document("A job type or a Strike process.", {"id": 1}), "What there are metrics of.")},
    base=METRICS_TYPE,
)
_DAY = text("A day in UTC.", "2015-10-05")
PLOT_DATA = model(
    "PlotData",
    "The values of a column.",
    {
        "column": of(METRICS_COLUMN, "The column."),
        "min_x": maybe(text("The first day.", "2015-10-05")),
        "max_x": maybe(text("The last day.", "2015-10-13")),
        "min_y": maybe(number("The least value.", 1)),
        "max_y": maybe(number("The greatest value.", 300)),
        "values": many(
            model(
                "PlotValue",
                "The value of a day.",
                {
                    "id": whole("The choice; there if several were asked for."),
                    "date": _DAY,
                    "value": number("The value.", 1),
                },
                optional=("id",),
            ),
            "The values, the oldest first.",
        ),
    },
)
_HOW_MANY = "How many jobs were {}."
LOAD = model(
    "Load",
    "How many jobs there were at a moment.",
    {
        "time": moment("The moment."),
        "pending_count": whole(_HOW_MANY.format("PENDING"), 1),
        "queued_count": whole(_HOW_MANY.format("QUEUED"), 0),
        "running_count": whole(_HOW_MANY.format("RUNNING"), 5),
    },
)
