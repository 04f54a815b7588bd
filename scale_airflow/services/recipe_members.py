# SPDX-License-Identifier: Apache-2.0
"""The jobs of many recipes and how they depend on each other, in a few statements: no documents are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.definitions.recipe_definition import RecipeDefinition, RecipeJob
from scale_airflow.services import facts
from scale_airflow.services.listing import among
from scale_airflow.store.models import Job, Recipe, RecipeTypeRevision


@dataclass
class Member:
    """A job of a recipe, as far as its dependants ask.

    :param is_in_airflow: whether it was dispatched since it was queued last.
    """

    id: int
    name: str
    status: str
    priority: int
    job_type_id: int
    task_id: str
    is_in_airflow: bool


@dataclass
class Members:
    """The jobs of one recipe.

    :param run_id: of the recipe's run in Airflow; None while it has none.
    """

    recipe_id: int
    dag_id: str
    run_id: str | None
    definition: RecipeDefinition
    jobs: dict[str, Member]

    def parents_first(self) -> Iterator[tuple[Member, list[Member]]]:
        """Go through the jobs, each with those that it depends on."""
        for entry in self.definition.topological_order():
            yield self.jobs[entry.name], self.parents_of(entry)

    def parents_of(self, entry: RecipeJob) -> list[Member]:
        """Return what a job of the definition depends on."""
        return [self.jobs[dependency.name] for dependency in entry.dependencies]


def members_of(session: Session, recipe_ids: Collection[int]) -> list[Members]:
    """Return the jobs of recipes, which the caller has locked, by recipe."""
    found: dict[int, Members] = {}
    session.flush()
    rows: Any = session.execute(
        select(Recipe.id, Recipe.dag_id, Recipe.run_id, RecipeTypeRevision)
        .join(RecipeTypeRevision, RecipeTypeRevision.id == Recipe.recipe_type_rev_id)
        .where(among(Recipe.id, recipe_ids))
        .order_by(Recipe.id)
    )
    for recipe_id, dag_id, run_id, revision in rows:
        found[recipe_id] = Members(recipe_id, dag_id, run_id, facts.definition_of(revision), {})
    jobs: Any = session.execute(
        select(
            Job.recipe_id,
            Job.recipe_job_name,
            Job.id,
            Job.status,
            Job.priority,
            Job.job_type_id,
            Job.task_id,
            Job.dispatched,
        ).where(among(Job.recipe_id, recipe_ids))
    )
    for recipe_id, name, number, status, priority, job_type_id, task_id, dispatched in jobs:
        member = Member(number, name, status, priority, job_type_id, task_id, dispatched is not None)
        found[recipe_id].jobs[name] = member
    return list(found.values())
