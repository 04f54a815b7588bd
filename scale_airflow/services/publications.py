# SPDX-License-Identifier: Apache-2.0
"""The DAGs that a change of types needs, gathered until the whole change is known to be valid."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.engine.publishing import hide
from scale_airflow.services.dag_files import publish


class Publications:
    """What is to be published, and what is to be hidden, before a change of types is committed.

    Publishing is a transaction of its own: a DAG whose type is rolled back afterwards is harmless, a type
    without its DAG is not.
    """

    def __init__(self) -> None:
        self._files: dict[str, DagFile] = {}
        self._hidden: dict[str, None] = {}

    def add(self, dag_file: DagFile) -> None:
        """Remember to publish a DAG."""
        self._files[dag_file.dag_id] = dag_file
        self._hidden.pop(dag_file.dag_id, None)

    def hide(self, dag_id: str) -> None:
        """Remember to take a DAG out of Airflow's lists."""
        self._hidden[dag_id] = None
        self._files.pop(dag_id, None)

    @property
    def dag_files(self) -> tuple[DagFile, ...]:
        """The DAGs that are to be published."""
        return tuple(self._files.values())

    def carry_out(self, session: Session) -> None:
        """Publish, then hide; to be called last, when nothing but the commit can fail any more.

        :param session: the change's own; hiding is part of its transaction.
        :raises EngineError: if Airflow can't import or store a DAG.
        :raises InstallationError: if Airflow's configuration lacks our bundle.
        """
        for dag_file in self._files.values():
            publish(session, dag_file)
        if self._hidden:
            hide(self._hidden, session)
        self._files.clear()
        self._hidden.clear()
