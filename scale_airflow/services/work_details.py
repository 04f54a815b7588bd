# SPDX-License-Identifier: Apache-2.0
"""One job, job execution or recipe with everything about it, in few queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, lazyload, selectinload

from scale_airflow.errors import NotFound
from scale_airflow.services.facts import interface_of
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.services.waiting import why
from scale_airflow.services.work_lists import (
    EXECUTION_FORM,
    EXECUTION_RELATED,
    JOB_FORM_BUT_REVISION,
    RECIPE_FORM,
)
from scale_airflow.store.base import Base
from scale_airflow.store.models import (
    Job,
    JobExecution,
    JobInputFile,
    JobType,
    Recipe,
    ScaleFile,
    TriggerEvent,
)

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True, slots=True)
class JobDetails:
    """A job and what its details show.

    :param why: what it waits for.
    :param files: the files of its inputs and results by id.
    :param input_files: its input files, in the order of their ids.
    :param products: what its executions have stored, in the order of their ids.
    :param executions: its tries, the latest first.
    """

    job: Job
    why: str | None
    recipes: Sequence[Recipe]
    executions: Sequence[JobExecution]
    files: Mapping[int, ScaleFile]
    input_files: Sequence[ScaleFile]
    products: Sequence[ScaleFile]


@dataclass(frozen=True, slots=True)
class RecipeDetails:
    """A recipe and what its details show."""

    recipe: Recipe
    jobs: Sequence[Job]
    input_files: Sequence[ScaleFile]


def job_details(session: Session, job_id: int) -> JobDetails:
    """Return a job with everything about it.

    :raises NotFound: if there is no such job.
    """
    job = _one(
        session,
        Job,
        job_id,
        "job",
        joinedload(Job.job_type).options(lazyload(JobType.trigger_rule)),
        joinedload(Job.job_type_rev),
        joinedload(Job.event).options(joinedload(TriggerEvent.rule)),
        joinedload(Job.error),
    )
    executions = session.scalars(
        select(JobExecution)
        .where(JobExecution.job_id == job.id)
        .order_by(JobExecution.exe_num.desc())
        .options(selectinload(JobExecution.error))
    ).all()
    recipes: Sequence[Recipe] = ()
    if job.recipe_id is not None:
        recipes = session.scalars(
            select(Recipe).where(Recipe.id == job.recipe_id).options(*RECIPE_FORM)
        ).all()
    input_ids = session.scalars(
        select(JobInputFile.file_id).where(JobInputFile.job_id == job.id).distinct()
    ).all()
    products = session.scalars(
        select(ScaleFile)
        .where(ScaleFile.job_id == job.id, ScaleFile.kind == "PRODUCT")
        .order_by(ScaleFile.id)
        .options(joinedload(ScaleFile.workspace))
    ).all()
    known = {file.id: file for file in products}
    mentioned = {
        *input_ids,
        *_mentioned(job.data.get("input_data")),
        *_mentioned(job.results.get("output_data")),
    }
    files = known | _files(session, mentioned - known.keys())
    input_files = [files[each] for each in sorted(input_ids) if each in files]
    return JobDetails(job, why(session, job), recipes, executions, files, input_files, products)


def new_job_details(session: Session, job: Job) -> JobDetails:
    """Return a job that this very transaction has queued, with everything about it.

    What was just written is not read again.
    """
    interface = interface_of(job.job_type_rev)
    entries = job.data.get("input_data", ())
    files = _files(session, set(_mentioned(entries)))
    given = _mentioned(each for each in entries if interface.input(each["name"]) is not None)
    input_files = [files[each] for each in sorted(set(given)) if each in files]
    return JobDetails(job, why(session, job), (), job.executions, files, input_files, ())


def execution_details(session: Session, execution_id: int) -> JobExecution:
    """Return an execution with everything about it.

    :raises NotFound: if there is no such execution.
    """
    return _one(session, JobExecution, execution_id, "job execution", *EXECUTION_RELATED)


def execution_in_list_form(session: Session, execution_id: int) -> JobExecution:
    """Return an execution with what lists show of it.

    :raises NotFound: if there is no such execution.
    """
    return _one(session, JobExecution, execution_id, "job execution", *EXECUTION_FORM)


def recipe_details(session: Session, recipe_id: int) -> RecipeDetails:
    """Return a recipe with everything about it, its jobs in the order in which they were made.

    :raises NotFound: if there is no such recipe.
    """
    recipe = _one(
        session,
        Recipe,
        recipe_id,
        "recipe",
        joinedload(Recipe.recipe_type),
        joinedload(Recipe.recipe_type_rev),
        joinedload(Recipe.event).options(joinedload(TriggerEvent.rule)),
    )
    jobs = session.scalars(
        select(Job)
        .where(Job.recipe_id == recipe.id)
        .order_by(Job.id)
        .options(*JOB_FORM_BUT_REVISION, selectinload(Job.job_type_rev))
    ).all()
    files = _files(session, set(_mentioned(recipe.data.get("input_data"))))
    return RecipeDetails(recipe, jobs, [files[each] for each in sorted(files)])


def _one(session: Session, model: type[Row], row_id: int, what: str, *options: Any) -> Row:
    found: Row | None = None
    if 0 < row_id <= MAX_ID:
        # Read anew: the caller may have changed the row in this very transaction.
        found = session.get(model, row_id, options=options, populate_existing=True)
    if found is None:
        raise NotFound(f"There is no {what} with the id {row_id}.")
    return found


def _mentioned(entries: Iterable[Mapping[str, Any]] | None) -> list[int]:
    """Return the ids of the files that entries of job data, recipe data or job results name."""
    ids: list[int] = []
    for entry in entries or ():
        ids.extend(entry.get("file_ids") or ())
        if entry.get("file_id") is not None:
            ids.append(entry["file_id"])
    return ids


def _files(session: Session, ids: set[int]) -> dict[int, ScaleFile]:
    if not ids:
        return {}
    statement = select(ScaleFile).where(ScaleFile.id.in_(ids)).options(joinedload(ScaleFile.workspace))
    return {file.id: file for file in session.scalars(statement)}
