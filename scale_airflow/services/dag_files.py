# SPDX-License-Identifier: Apache-2.0
"""Generated DAG files, kept in the database for workers on other hosts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.engine import publishing
from scale_airflow.errors import NotFound
from scale_airflow.store.models import DagFileRow, utcnow

#: How many files one answer lists.
PAGE = 1000


def publish(session: Session, dag_file: DagFile) -> None:
    """Make a DAG known to Airflow (a transaction of its own), and its file available to all hosts.

    :raises EngineError: if Airflow does not take the DAG.
    """
    publishing.publish(dag_file)
    session.execute(
        insert(DagFileRow)
        .values(
            dag_id=dag_file.dag_id,
            file_name=dag_file.file_name,
            sha256=dag_file.sha256,
            source=dag_file.source,
            created=utcnow(),
        )
        .on_conflict_do_nothing()
    )


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A generated file as other hosts see it; their DAG processors leave hidden ones out."""

    id: int
    file_name: str
    sha256: str
    hidden: bool


def list_files(session: Session, after: int) -> list[ListedFile]:
    """Return the files that were published after the one with this id, oldest first, a page at most."""
    rows = session.execute(
        select(DagFileRow.id, DagFileRow.file_name, DagFileRow.sha256, DagFileRow.dag_id)
        .where(DagFileRow.id > after)
        .order_by(DagFileRow.id)
        .limit(PAGE)
    ).all()
    hidden = publishing.hidden_dags({row.dag_id for row in rows}, session)
    return [ListedFile(row.id, row.file_name, row.sha256, row.dag_id in hidden) for row in rows]


def read_file(session: Session, file_name: str) -> str:
    """Return the text of a generated file.

    :raises NotFound: if there is none of this name.
    """
    source = session.execute(select(DagFileRow.source).where(DagFileRow.file_name == file_name)).scalar()
    if source is None:
        raise NotFound(f"There is no generated DAG file {file_name}.")
    return source
