# SPDX-License-Identifier: Apache-2.0
"""What is tidied from time to time: DAGs of old revisions leave Airflow's lists once nothing of them runs,
and come back when somebody lets a run of theirs go on."""

from __future__ import annotations

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from scale_airflow.engine import publishing
from scale_airflow.store.models import JobType, JobTypeRevision, RecipeType, RecipeTypeRevision


def show_cleared_revisions(session: Session) -> list[str]:
    """Bring back the DAGs of revisions that are hidden though a run of theirs is not over.

    A user may clear a run of an old revision in Airflow, which would else wait for ever. DAGs of Strike
    processes and of clock rules stay hidden: visible, they would begin new runs by themselves.

    :returns: the DAGs that were brought back.
    """
    hidden = publishing.hidden_with_work(session)
    if not hidden:
        return []
    of_revisions = session.scalars(
        union_all(
            select(JobTypeRevision.dag_id).where(JobTypeRevision.dag_id.in_(hidden)),
            select(RecipeTypeRevision.dag_id).where(RecipeTypeRevision.dag_id.in_(hidden)),
        )
    )
    wanted = sorted(dag_id for dag_id in of_revisions if dag_id is not None)
    publishing.show(wanted, session)
    return wanted


def hide_old_revisions(session: Session) -> list[str]:
    """Hide the DAGs of revisions that are not current, except those with an unfinished run.

    A requeue brings them back (:func:`scale_airflow.services.dispatch.dispatch`), and so does a clear.

    :returns: the DAGs that are hidden now and were not before.
    """
    of_jobs = (
        select(JobTypeRevision.dag_id)
        .join(JobType)
        .where(JobTypeRevision.revision_num != JobType.revision_num, JobTypeRevision.dag_id.is_not(None))
    )
    of_recipes = (
        select(RecipeTypeRevision.dag_id)
        .join(RecipeType)
        .where(
            RecipeTypeRevision.revision_num != RecipeType.revision_num, RecipeTypeRevision.dag_id.is_not(None)
        )
    )
    old = session.scalars(union_all(of_jobs, of_recipes)).all()
    return publishing.hide([dag_id for dag_id in old if dag_id is not None], session)
