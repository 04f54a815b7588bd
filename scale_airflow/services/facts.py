# SPDX-License-Identifier: Apache-2.0
"""What documents need to know of the database to be checked: files, workspaces, interfaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from sqlalchemy import and_, bindparam, select, tuple_
from sqlalchemy.orm import Session, lazyload

from scale_airflow.definitions.job_data import FileFacts, WorkspaceFacts
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.errors import NotFound
from scale_airflow.services.listing import among
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.store.models import (
    JobType,
    JobTypeRevision,
    RecipeType,
    RecipeTypeRevision,
    ScaleFile,
    Workspace,
)

_IS_CURRENT = and_(
    JobTypeRevision.job_type_id == JobType.id, JobTypeRevision.revision_num == JobType.revision_num
)
_TYPE_AND_REVISION = (
    select(JobType, JobTypeRevision)
    .join(JobTypeRevision, _IS_CURRENT)
    .where(JobType.id == bindparam("job_type_id"))
    .options(lazyload(JobType.trigger_rule))
)


def file_facts(session: Session, ids: Iterable[int]) -> dict[int, FileFacts]:
    """Return what is known of the files with these ids; unknown and deleted ones are left out."""
    known = [number for number in set(ids) if 0 < number <= MAX_ID]
    if not known:
        return {}
    rows = session.execute(
        select(ScaleFile.id, ScaleFile.file_name, ScaleFile.media_type, ScaleFile.file_size).where(
            among(ScaleFile.id, known), ScaleFile.is_deleted.is_(False)
        )
    )
    return {row.id: FileFacts(row.id, row.file_name, row.media_type, row.file_size) for row in rows}


def workspace_facts(session: Session, ids: Iterable[int]) -> dict[int, WorkspaceFacts]:
    """Return what is known of the workspaces with these ids; unknown ones are left out."""
    known = [number for number in set(ids) if 0 < number <= MAX_ID]
    if not known:
        return {}
    rows = session.execute(
        select(Workspace.id, Workspace.name, Workspace.is_active).where(Workspace.id.in_(known))
    )
    return {row.id: WorkspaceFacts(row.id, row.name, row.is_active) for row in rows}


def job_types_of(
    session: Session, definition: RecipeDefinition
) -> dict[tuple[str, str], tuple[JobType, JobTypeRevision]]:
    """Return the job types that a recipe's definition names, each with its current revision."""
    wanted = definition.job_types()
    if not wanted:
        return {}
    rows = session.execute(
        select(JobType, JobTypeRevision)
        .join(JobTypeRevision, _IS_CURRENT)
        .where(tuple_(JobType.name, JobType.version).in_(list(wanted)))
    )
    return {(job_type.name, job_type.version): (job_type, revision) for job_type, revision in rows}


def job_type_and_revision(session: Session, job_type_id: int) -> tuple[JobType, JobTypeRevision]:
    """Return a job type, without its trigger rule, and the revision that is current now.

    :raises NotFound: if there is no such job type.
    """
    found = None
    if 0 < job_type_id <= MAX_ID:
        found = session.execute(_TYPE_AND_REVISION, {"job_type_id": job_type_id}).one_or_none()
    if found is None:
        raise NotFound(f"There is no job type with the id {job_type_id}.")
    return found[0], found[1]


def current_revision(session: Session, job_type: JobType) -> JobTypeRevision:
    """Return the revision of a job type that is current now."""
    return session.execute(
        select(JobTypeRevision).where(
            JobTypeRevision.job_type_id == job_type.id,
            JobTypeRevision.revision_num == job_type.revision_num,
        )
    ).scalar_one()


def current_recipe_revision(session: Session, recipe_type: RecipeType) -> RecipeTypeRevision:
    """Return the revision of a recipe type that is current now."""
    return session.execute(
        select(RecipeTypeRevision).where(
            RecipeTypeRevision.recipe_type_id == recipe_type.id,
            RecipeTypeRevision.revision_num == recipe_type.revision_num,
        )
    ).scalar_one()


# Revisions never change, so what was parsed once holds for ever. The documents are small (kilobytes).
@lru_cache(maxsize=4096)
def _interface(revision_id: int, created: object, document: Uncompared) -> JobInterface:
    return JobInterface.parse(document.value)


@lru_cache(maxsize=4096)
def _definition(revision_id: int, created: object, document: Uncompared) -> RecipeDefinition:
    return RecipeDefinition.parse(document.value)


class Uncompared:
    """Carries a document past a cache: the key is what it belongs to, the document is not compared."""

    def __init__(self, value: Mapping[str, object]):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uncompared)

    def __hash__(self) -> int:
        return 0


def interface_of(revision: JobTypeRevision) -> JobInterface:
    """Return the parsed interface of a job type's revision."""
    return _interface(revision.id, revision.created, Uncompared(revision.interface))


def definition_of(revision: RecipeTypeRevision) -> RecipeDefinition:
    """Return the parsed definition of a recipe type's revision."""
    return _definition(revision.id, revision.created, Uncompared(revision.definition))
