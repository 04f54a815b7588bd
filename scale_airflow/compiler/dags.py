# SPDX-License-Identifier: Apache-2.0
"""What generated DAG files call, and the one function for DAG files that people write themselves.

Airflow and the operators are imported inside the functions: the package's public face must not load them
for every ``airflow`` command.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dateutil.parser import isoparse

from scale_airflow.compiler import names
from scale_airflow.compiler.doc_pages import job_page, recipe_page, strike_page
from scale_airflow.compiler.graph import RecipeGraph
from scale_airflow.compiler.parameters import form_fields
from scale_airflow.compiler.user_recipes import UserRecipe, read_user_recipe

if TYPE_CHECKING:
    from airflow.sdk import DAG

# Whether a try may run and whether a failure is tried again is decided by the claim and the report, never
# by Airflow's count: it is only high enough not to end before Scale's does.
RETRIES = 1_000_000
# How many runs and tasks of one DAG may be active is Scale's decision as well (window, pools, admission).
UNLIMITED = 1_000_000
#: Airflow starts tasks by weight, high first; Scale by priority, low first.
HIGHEST_WEIGHT = 1_000_000
DEFAULT_PRIORITY = 100
# Between two tries when a task could not be started, or the API server could not be reached. A try that Scale
# itself wants comes at once (_retry_at_once).
_RETRY_DELAY = timedelta(seconds=5)
_METRICS_RETRY_DELAY = timedelta(minutes=5)
# Any moment before the first run will do; it must be the same each time the file is read.
_EPOCH = datetime(2020, 1, 1, tzinfo=timezone.utc)


def weight_of(priority: int) -> int:
    """Return Airflow's weight of Scale's ``priority``: 1,000,000 less it, within Airflow's integers."""
    return max(-2_147_483_647, min(2_147_483_647, HIGHEST_WEIGHT - priority))


def recipe_dag(
    *, name: str, version: str, revision: int, title: str | None, definition: Mapping[str, Any]
) -> DAG:
    """Build the DAG of a recipe type's revision: a task a job, an edge a dependency."""
    dag = _dag(
        names.recipe_dag_id(name, version, revision),
        name=f"{name} {version} (revision {revision})",
        title=title,
        doc=recipe_page(name, version, revision, title, definition),
        tags=["scale", "scale recipe", f"revision {revision}"],
    )
    _add_recipe_tasks(dag, RecipeGraph.of_document(definition))
    _add_form(dag, definition)
    return dag


def job_dag(
    *, name: str, version: str, revision: int, title: str | None, interface: Mapping[str, Any]
) -> DAG:
    """Build the DAG of a job type's revision: one task, for jobs that are queued alone."""
    dag = _dag(
        names.job_dag_id(name, version, revision),
        name=f"{name} {version} (revision {revision})",
        title=title,
        doc=job_page(name, version, revision, title, interface),
        tags=["scale", "scale job", f"revision {revision}"],
    )
    _job_task(dag, names.JOB_TASK_ID, f"{name} {version}", pool=names.pool_name(name, version))
    _add_form(dag, interface)
    return dag


def strike_dag(*, name: str, strike_id: int, title: str | None) -> DAG:
    """Build the DAG of a Strike process: watch, ingest what was seen, begin anew."""
    from scale_airflow.operators.scale_ingest import ScaleIngestOperator
    from scale_airflow.sensors.strike import StrikeSensor

    dag = _dag(
        names.strike_dag_id(name),
        name=f"Strike {name}",
        title=title,
        doc=strike_page(name, strike_id, title),
        tags=["scale", "scale strike"],
        wanted={"schedule": "@continuous", "start_date": _EPOCH, "max_active_runs": 1},
    )
    common: dict[str, Any] = {
        "dag": dag,
        "task_group": dag.task_group,
        "strike_id": strike_id,
        "owner": "scale",
        "retries": RETRIES,
        "retry_delay": _RETRY_DELAY,
        "execution_timeout": None,
    }
    watch = StrikeSensor(task_id=names.WATCH_TASK_ID, **common)
    ingest = ScaleIngestOperator(task_id=names.INGEST_TASK_ID, **common)
    ingest.set_upstream(watch)
    return dag


def clock_dag(*, name: str, rule_id: int, schedule: str, title: str | None, start: str | None) -> DAG:
    """Build the DAG of a clock trigger rule.

    :param schedule: an ISO 8601 period such as ``PT1H``.
    :param start: the moment (ISO 8601) before which the rule never fires; None if there is none.
    """
    from scale_airflow.operators.scale_clock import ScaleClockOperator
    from scale_airflow.timetables.clock import ScaleClockTimetable

    dag = _dag(
        names.clock_dag_id(rule_id, name),
        name=f"Clock {name}",
        title=title,
        doc=None,
        tags=["scale", "scale clock"],
        wanted={
            "schedule": ScaleClockTimetable(schedule),
            "start_date": _EPOCH if start is None else isoparse(start),
        },
    )
    ScaleClockOperator(
        task_id=names.FIRE_TASK_ID,
        trigger_rule_id=rule_id,
        dag=dag,
        task_group=dag.task_group,
        owner="scale",
        # The moment is reported however late: the API server takes each one once.
        retries=RETRIES,
        retry_delay=_RETRY_DELAY,
    )
    return dag


def metrics_dag(*, name: str, rule_id: int, schedule: str, start: str) -> DAG:
    """Build the DAG of the clock rule that has the metrics of each day worked out.

    Its first task has the missing days queued as scale-daily-metrics jobs, its second one has them done.
    Parameters as for :func:`clock_dag`.
    """
    from scale_airflow.operators.scale_metrics import ScaleMetricsOperator

    dag = clock_dag(name=name, rule_id=rule_id, schedule=schedule, title="Metrics of each day", start=start)
    compute = ScaleMetricsOperator(
        task_id=names.COMPUTE_TASK_ID,
        trigger_rule_id=rule_id,
        dag=dag,
        task_group=dag.task_group,
        owner="scale",
        # How often a day is tried, the API server decides; between two tries a pause does good.
        retries=RETRIES,
        retry_delay=_METRICS_RETRY_DELAY,
    )
    compute.set_upstream(dag.get_task(names.FIRE_TASK_ID))
    return dag


def scale_recipe_dag(
    path_or_definition: str | Path | Mapping[str, Any],
    *,
    name: str | None = None,
    version: str = "1.0.0",
    title: str | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """Compile a recipe definition in a DAG file of your own::

        from scale_airflow import scale_recipe_dag

        dag = scale_recipe_dag("terrain_recipe.json", name="terrain", version="1.0.0")

    Its runs are adopted by Scale when their first task starts: the definition becomes, or matches, a revision
    of the recipe type ``name`` ``version``, and the answers of the run's form its recipe data.

    :param path_or_definition: a JSON file, relative to the DAG file that calls; or the document itself.
    :param name: of the recipe type; the JSON file's name without ``.json`` if not given.
    :param dag_kwargs: anything that :class:`airflow.sdk.DAG` takes; wins over what is set here.
    :raises InvalidDocument: if the definition is invalid: every fault, with file, line and column.
    """
    caller = Path(sys._getframe(1).f_code.co_filename)
    recipe = read_user_recipe(path_or_definition, caller.parent, name=name, version=version, title=title)
    dag = _dag(
        dag_kwargs.pop("dag_id", names.slug(recipe.name)),
        name=f"{recipe.name} {version}",
        title=title,
        doc=recipe_page(recipe.name, version, None, title, recipe.document),
        tags=["scale", "scale recipe"],
        wanted=dag_kwargs,
    )
    _add_recipe_tasks(dag, RecipeGraph.of(recipe.definition), user_recipe=recipe)
    if "params" not in dag_kwargs:
        _add_form(dag, recipe.document)
    return dag


def _dag(
    dag_id: str,
    *,
    name: str,
    title: str | None,
    doc: str | None,
    tags: list[str],
    wanted: Mapping[str, Any] = MappingProxyType({}),
) -> DAG:
    from airflow.sdk import DAG

    settings: dict[str, Any] = {
        "dag_display_name": name,
        "description": title,
        "doc_md": doc,
        "tags": tags,
        "schedule": None,
        "catchup": False,
        "is_paused_upon_creation": False,
        "max_active_runs": UNLIMITED,
        "max_active_tasks": UNLIMITED,
        # A run of a revision stays with it, whatever the installation's default for clears is.
        "rerun_with_latest_version": False,
    }
    return DAG(dag_id, **{**settings, **wanted})


def _add_form(dag: DAG, document: Mapping[str, Any]) -> None:
    """Add the form of a DAG's runs; to be called last.

    Airflow copies a DAG's parameters into each task that is added, once for every class of its operator, and
    joins both when the task runs: here it has them once.
    """
    from airflow.sdk import Param

    for name, schema in form_fields(document).items():
        if name not in dag.params:
            # Positional defaults of Param are values; the schema goes by keyword.
            dag.params[name] = Param(None, **schema)


def _add_recipe_tasks(dag: DAG, graph: RecipeGraph, *, user_recipe: UserRecipe | None = None) -> None:
    tasks = {}
    for node in graph.nodes:
        tasks[node.task_id] = _job_task(
            dag,
            node.task_id,
            node.name,
            pool=node.pool if user_recipe is None else None,
            definition=None if user_recipe is None else user_recipe.adoption(),
        )
    for node in graph.nodes:
        if node.parents:
            tasks[node.task_id].set_upstream([tasks[parent] for parent in node.parents])


@functools.cache
def _retry_at_once() -> Any:
    """Return the policy that a try follows without delay when the report was answered with "retry"."""
    from airflow.sdk import ExceptionRetryPolicy, RetryRule
    from airflow.sdk.exceptions import AirflowException

    rule = RetryRule(
        AirflowException,
        retry_delay=timedelta(0),
        reason="Scale tries the job again",
        match_subclasses=False,
    )
    return ExceptionRetryPolicy([rule])


def _job_task(
    dag: DAG, task_id: str, name: str, *, pool: str | None, definition: dict[str, Any] | None = None
) -> Any:
    from scale_airflow.operators.scale_job import ScaleJobOperator

    # The DAG and its group are named, not taken from Airflow's context stack, which threads share.
    return ScaleJobOperator(
        task_id=task_id,
        task_display_name=name,
        dag=dag,
        task_group=dag.task_group,
        definition=definition,
        owner="scale",
        pool=pool,
        weight_rule="absolute",
        priority_weight=weight_of(DEFAULT_PRIORITY),
        retries=RETRIES,
        retry_delay=_RETRY_DELAY,
        retry_policy=_retry_at_once(),
        execution_timeout=None,
        trigger_rule="all_success",
    )
