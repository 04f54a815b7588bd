# SPDX-License-Identifier: Apache-2.0
"""How Scale's names become Airflow's identifiers.

Airflow allows letters, digits, ``_``, ``-`` and ``.``, and 250 characters; Scale allows any letters, and 255.
So a name is shown in full (``dag_display_name``, ``task_display_name``) and identified by its *slug*: the
same text where that is possible, else a readable part of it and a hash of what it stands for.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re

SLUG_LIMIT = 60
#: The task of a DAG that runs one job by itself.
JOB_TASK_ID = "job"
#: The tasks of a Strike process's DAG.
WATCH_TASK_ID = "watch"
INGEST_TASK_ID = "ingest"
#: The task of a clock rule's DAG.
FIRE_TASK_ID = "fire"
#: The task of the daily metrics' clock rule that follows it.
COMPUTE_TASK_ID = "compute"

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def slug(text: str, limit: int = SLUG_LIMIT, *, identity: str | None = None) -> str:
    """Return ``text`` as a part of an Airflow identifier.

    :param limit: how many characters of the text are kept.
    :param identity: what the hash is taken of when the slug is not the exact text; the text itself if None.
    :returns: the text if it is short and made of ``A-Za-z0-9_-`` only; else its readable part, a dot and
        eight hexadecimal digits. Only the second form holds a dot, so the two never meet.
    """
    readable = _UNSAFE.sub("_", text)[:limit] or "_"
    if readable == text:
        return text
    digest = hashlib.sha256((text if identity is None else identity).encode("utf-8", "surrogatepass"))
    return f"{readable}.{digest.hexdigest()[:8]}"


def _typed_id(prefix: str, name: str, version: str) -> str:
    identity = json.dumps([name, version])
    return f"{prefix}.{slug(name, identity=identity)}.{slug(version, identity=identity)}"


def recipe_dag_id(name: str, version: str, revision: int) -> str:
    """Return the DAG id of a recipe type's revision."""
    return f"{_typed_id('scale_recipe', name, version)}.r{revision}"


def job_dag_id(name: str, version: str, revision: int) -> str:
    """Return the DAG id of a job type's revision, for jobs that are queued alone."""
    return f"{_typed_id('scale_job', name, version)}.r{revision}"


def strike_dag_id(name: str) -> str:
    """Return the DAG id of a Strike process."""
    return f"scale_strike.{slug(name)}"


def clock_dag_id(rule_id: int, name: str) -> str:
    """Return the DAG id of a clock trigger rule; names of rules need not be unique."""
    return f"scale_clock.{slug(name)}.{rule_id}"


def task_id(name: str) -> str:
    """Return the task id of a recipe's job."""
    return slug(name)


def recipe_run_id(recipe_id: int) -> str:
    """Return the run id of a recipe: the key that makes its creation in Airflow happen once."""
    return f"scale-recipe-{recipe_id}"


def job_run_id(job_id: int) -> str:
    """Return the run id of a job that was queued alone."""
    return f"scale-job-{job_id}"


@functools.lru_cache(maxsize=4096)
def pool_name(job_type_name: str, version: str) -> str:
    """Return the name of a job type's pool, which holds all its tasks of all DAGs and revisions."""
    return _typed_id("scale_job_type", job_type_name, version)
