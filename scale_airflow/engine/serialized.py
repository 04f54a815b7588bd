# SPDX-License-Identifier: Apache-2.0
"""Published DAGs as Airflow's server knows them, kept in memory: they never change under the same hash."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scale_airflow.engine.bundle_row import configured_bundle
from scale_airflow.errors import EngineError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# A serialized DAG of a few tasks takes some 100 KB of memory.
_KEPT = 200


@dataclass(frozen=True, slots=True)
class PublishedDag:
    """A DAG as Airflow stored it.

    :param dag: without its form: the runs that Scale creates fill in none, so Airflow need not check it.
    :param file_name: its generated file; None for a DAG of another bundle.
    """

    dag: Any
    file_name: str | None


_cache: OrderedDict[tuple[str, Any, str, str | None], Any] = OrderedDict()
_lock = threading.Lock()


def serialized_dag(session: Session, dag_id: str) -> PublishedDag:
    """Return the DAG that a new run of ``dag_id`` would run.

    :raises EngineError: if it was not published.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    found = session.execute(
        select(
            SerializedDagModel.dag_version_id,
            SerializedDagModel.dag_hash,
            DagModel.bundle_name,
            DagModel.relative_fileloc,
        )
        .join(DagVersion, DagVersion.id == SerializedDagModel.dag_version_id)
        .join(DagModel, DagModel.dag_id == DagVersion.dag_id)
        .where(DagVersion.dag_id == dag_id)
        .order_by(DagVersion.version_number.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        raise EngineError(f"The DAG {dag_id} is not published in Airflow")
    file_name = None
    if found.relative_fileloc and found.bundle_name == configured_bundle().name:
        file_name = found.relative_fileloc.rpartition("/")[2]
    key = (dag_id, found.dag_version_id, found.dag_hash, file_name)
    return PublishedDag(_deserialized(session, key), file_name)


def _deserialized(session: Session, key: tuple[str, Any, str, str | None]) -> Any:
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    row = session.scalar(select(SerializedDagModel).where(SerializedDagModel.dag_version_id == key[1]))
    if row is None:
        raise EngineError(f"The DAG {key[0]} is not published in Airflow")
    row.load_op_links = False
    dag = row.dag
    dag.params = type(dag.params)()
    # A run of ours has the name of its file for a version: Airflow need not look for the bundle's.
    dag.disable_bundle_versioning |= key[3] is not None
    with _lock:
        _cache[key] = dag
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return dag
