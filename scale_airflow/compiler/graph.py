# SPDX-License-Identifier: Apache-2.0
"""The stage between a recipe's definition and its DAG: which tasks there are and what each waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scale_airflow.compiler import names

if TYPE_CHECKING:
    from scale_airflow.definitions.recipe_definition import RecipeDefinition


@dataclass(frozen=True, slots=True)
class JobNode:
    """One job of a recipe, as a task.

    :param parents: task ids of the jobs that must complete first, without doubles, in definition order.
    """

    name: str
    task_id: str
    job_type_name: str
    job_type_version: str
    pool: str
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecipeGraph:
    """The tasks of a recipe in the order of its definition."""

    nodes: tuple[JobNode, ...]

    @classmethod
    def of(cls, definition: RecipeDefinition) -> RecipeGraph:
        """Build the graph of a definition that was parsed, and so has no cycles and no unknown names."""
        return cls(
            tuple(
                _node(
                    job.name,
                    job.job_type_name,
                    job.job_type_version,
                    [dependency.name for dependency in job.dependencies],
                )
                for job in definition.jobs
            )
        )

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> RecipeGraph:
        """Build the graph of a definition that was valid when it was published.

        A generated file is imported at each task's start and must go on to work when later releases check
        more: so it is trusted, and nothing is validated again.
        """
        return cls(
            tuple(
                _node(
                    job["name"],
                    job["job_type"]["name"],
                    job["job_type"]["version"],
                    [dependency["name"] for dependency in job.get("dependencies", ())],
                )
                for job in document["jobs"]
            )
        )


def _node(name: str, type_name: str, type_version: str, parents: Sequence[str]) -> JobNode:
    return JobNode(
        name=name,
        task_id=names.task_id(name),
        job_type_name=type_name,
        job_type_version=type_version,
        pool=names.pool_name(type_name, type_version),
        parents=tuple(names.task_id(parent) for parent in dict.fromkeys(parents)),
    )
