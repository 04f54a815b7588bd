# SPDX-License-Identifier: Apache-2.0
"""Source and product files in answers."""

from __future__ import annotations

from scale_airflow.api_plugin.models.kinds import (
    document,
    flag,
    many,
    maybe,
    model,
    moment,
    moment_or_null,
    of,
    reference,
    text,
    whole,
)
from scale_airflow.api_plugin.models.types import CREATED, ID, JOB_TYPE_BRIEF, LAST_MODIFIED

MEDIA_TYPE = text("The media type.", "image/png")
DATA_TYPE = many(text("A tag.", "landsat"), "Tags that say what kind of data it is.")

FILE = model(
    "File",
    "A source or product file inside of something else.",
    {
        "id": ID,
        "workspace": of(
            model(
                "FileWorkspace",
                "Where a file is stored.",
                {"id": ID, "name": text("The unique name.", "raw")},
            ),
            "Where it is stored.",
        ),
        "file_name": text("The name, without a directory.", "scene.png"),
        "media_type": MEDIA_TYPE,
        "file_size": whole("The size in bytes.", 1024),
        "data_type": DATA_TYPE,
        "is_deleted": flag("Whether it was deleted from its workspace."),
        "uuid": text("Names the same product of different runs.", "c8928d9183fc99122948e7840ec9a0fd"),
        "url": text("Where it is downloaded.", "http://host.com/rs/scene.png"),
        "created": CREATED,
        "deleted": moment_or_null("When it was deleted."),
        "data_started": moment_or_null("When the data begin."),
        "data_ended": moment_or_null("When the data end."),
        "geometry": maybe(text("The footprint, as WKT.", "POLYGON ((1 2, 2 2, 2 3, 1 2))")),
        "center_point": maybe(text("The centre of the footprint, as WKT.", "POINT (1.6 2.3)")),
        "meta_data": document("What is known of the data besides."),
        "countries": many(
            text("A country, by ISO 3166-1 alpha-3.", "ITA"), "The countries that the footprint touches."
        ),
        "last_modified": LAST_MODIFIED,
    },
)
_PARSED = {
    "is_parsed": flag("Whether a job has parsed it."),
    "parsed": moment_or_null("When it was parsed."),
}
SOURCE = model("SourceFile", "A file that was ingested.", _PARSED, base=FILE)
_PRODUCED = {
    "is_operational": flag("Whether it is ready for use.", example=True),
    "is_published": flag("Whether it is the latest of its kind.", example=True),
    "published": moment_or_null("When it was published."),
    "unpublished": moment_or_null("When a newer one came in its place."),
}
_MADE_BY = {
    "job": reference("The job that made it."),
    "job_exe": reference("The execution that made it."),
}
PRODUCT = model(
    "JobProduct",
    "A product inside of the job that made it.",
    {**_PRODUCED, "job_type": reference("The type of that job."), **_MADE_BY},
    base=FILE,
)
PRODUCT_IN_LIST = model(
    "Product",
    "A file that a job made.",
    {**_PRODUCED, "job_type": of(JOB_TYPE_BRIEF, "The type of the job that made it."), **_MADE_BY},
    base=FILE,
)
ANY_FILE = model(
    "AnyFile",
    "A file: a source file has the fields of being parsed, a product those of being made.",
    {**_PARSED, **_PRODUCED, "job_type": reference("The type of that job."), **_MADE_BY},
    base=FILE,
    optional=(*_PARSED, *_PRODUCED, "job_type", *_MADE_BY),
)
UPDATE = model(
    "FileUpdate",
    "What happened to a file.",
    {
        "action": text("What it was.", "CREATED"),
        "when": moment("When it was."),
    },
)
SOURCE_UPDATE = model(
    "SourceFileUpdate", "A change of a source file.", {"update": of(UPDATE, "The change.")}, base=SOURCE
)
PRODUCT_UPDATE = model(
    "ProductUpdate",
    "A change of a product.",
    {
        "update": of(UPDATE, "The change."),
        "source_files": many(SOURCE, "The source files that it was made of."),
    },
    base=PRODUCT_IN_LIST,
)
