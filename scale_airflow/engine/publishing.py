# SPDX-License-Identifier: Apache-2.0
"""Making a compiled DAG known to Airflow at once, and hiding it when nothing needs it any more."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scale_airflow import crash_points
from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.engine.bundle_row import configured_bundle, ensure_bundle_row
from scale_airflow.errors import EngineError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from scale_airflow.compiler.bundle import ScaleDagBundle

log = logging.getLogger(__name__)

# The DAG processor may see a new file, and write its rows, in the same moment.
_ATTEMPTS = 5


def publish(dag_file: DagFile) -> None:
    """Write a generated file and serialize its DAG, so that the very next transaction can create a run.

    A transaction of its own, before the one that stores the type: a DAG without a type is harmless. Doing it
    again is harmless too; for the same DAG with another content (a Strike process that was edited) the new
    content replaces the old one.

    :raises EngineError: if the file can't be imported or serialized, with Airflow's import errors.
    :raises InstallationError: if Airflow's configuration lacks our bundle.
    """
    from sqlalchemy.exc import IntegrityError

    bundle = configured_bundle()
    claim_origin()
    path = bundle.files.write(dag_file)
    bundle.files.show(dag_file.file_name)
    if _is_published(bundle, dag_file):
        return
    dag = _import_dag(path, dag_file)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _serialize(bundle.name, dag)
        except IntegrityError:
            if attempt == _ATTEMPTS:
                raise
            log.info("Another process wrote the DAG %s at the same time: trying again", dag_file.dag_id)
        else:
            return


def claim_origin() -> None:
    """Remember that DAGs are published on this host, so that nothing here looks for them elsewhere.

    :raises InstallationError: if Airflow's configuration lacks our bundle.
    """
    configured_bundle().files.mark_as_origin()


def hide(dag_ids: Iterable[str], session: Session) -> list[str]:
    """Take DAGs out of Airflow's lists, except those with a run that is not over: nothing hidden starts.

    Their files stay, so a task that still runs can load its own. A DAG that another transaction needs at this
    moment is left for the next time.

    :returns: the DAGs that are hidden now and were not before.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import State
    from sqlalchemy import exists, select, update

    # Two statements: the second sees the runs that others committed before the first got its locks.
    idle = session.scalars(
        select(DagModel.dag_id)
        .where(DagModel.dag_id.in_(list(dag_ids)), DagModel.is_stale.is_(False))
        .with_for_update(of=DagModel, skip_locked=True)
    ).all()
    is_busy = exists().where(
        DagRun.dag_id == DagModel.dag_id, DagRun._state.in_(list(State.unfinished_dr_states))
    )
    hidden = session.scalars(
        update(DagModel)
        .where(DagModel.dag_id.in_(idle), ~is_busy)
        .values(is_stale=True)
        .returning(DagModel.dag_id)
        .execution_options(synchronize_session=False)
    ).all()
    files = configured_bundle().files
    for dag_id in hidden:
        files.hide(dag_id)
    return sorted(hidden)


def show(dag_ids: Iterable[str], session: Session) -> None:
    """Bring hidden DAGs back into Airflow's lists; harmless for those that are there.

    Until the caller's transaction ends, nobody hides them.
    """
    from airflow.models.dag import DagModel
    from sqlalchemy import select, update

    bundle = configured_bundle()
    rows = session.execute(
        select(DagModel.dag_id, DagModel.bundle_name, DagModel.relative_fileloc, DagModel.is_stale)
        .where(DagModel.dag_id.in_(list(dag_ids)))
        .order_by(DagModel.dag_id)
        .with_for_update(of=DagModel, read=True, key_share=True)
    ).all()
    for row in rows:
        if row.bundle_name == bundle.name and row.relative_fileloc:
            file_name = Path(row.relative_fileloc).name
            if bundle.files.is_hidden(file_name):
                bundle.files.show(file_name)
    stale = [row.dag_id for row in rows if row.is_stale]
    if stale:
        session.execute(
            update(DagModel)
            .where(DagModel.dag_id.in_(stale))
            .values(is_stale=False)
            .execution_options(synchronize_session=False)
        )


def hidden_with_work(session: Session) -> list[str]:
    """Return the hidden DAGs of our bundle with a run that is not over: Airflow never starts its tasks.

    Somebody cleared the run in Airflow, or Airflow's DAG processor worked from an older list of files.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import State
    from sqlalchemy import select

    return list(
        session.scalars(
            select(DagModel.dag_id)
            .join(DagRun, DagRun.dag_id == DagModel.dag_id)
            .where(
                DagRun._state.in_(list(State.unfinished_dr_states)),
                DagModel.is_stale.is_(True),
                DagModel.bundle_name == configured_bundle().name,
            )
            .distinct()
        )
    )


def hidden_dags(dag_ids: Iterable[str], session: Session) -> set[str]:
    """Return which of these DAGs are hidden; for hosts that keep copies of the generated files."""
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    return set(
        session.scalars(
            select(DagModel.dag_id).where(DagModel.dag_id.in_(list(dag_ids)), DagModel.is_stale.is_(True))
        )
    )


@functools.cache
def _own_engine() -> Engine:
    """Return an engine without a pool.

    Who publishes holds a connection of Airflow's pool already. If it needed a second one of the same pool,
    a pool's worth of simultaneous edits would wait for each other until they time out.
    """
    from airflow import settings

    return settings.create_metadata_engine(
        str(settings.SQL_ALCHEMY_CONN),
        engine_args=settings.prepare_engine_args(disable_connection_pool=True),
        connect_args=settings._get_connect_args("sync"),
    )


@contextmanager
def _own_transaction(*, point: str | None = None) -> Iterator[Session]:
    from sqlalchemy.orm import Session

    # Not session.begin(): Airflow ends the transaction that it is given, and goes on in another.
    with Session(_own_engine(), autoflush=False, expire_on_commit=False) as session:
        yield session
        if point is not None:
            crash_points.reach(f"{point}.commit.before")
        session.commit()
    if point is not None:
        crash_points.reach(f"{point}.commit.after")


def _is_published(bundle: ScaleDagBundle, dag_file: DagFile) -> bool:
    """Say whether Airflow lists this very file already; its name stands for its content."""
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import exists, select

    with _own_transaction() as session:
        return bool(
            session.scalar(
                select(
                    exists().where(
                        DagModel.dag_id == dag_file.dag_id,
                        DagModel.bundle_name == bundle.name,
                        DagModel.relative_fileloc == bundle.files.relative_path_of(dag_file.file_name),
                        DagModel.fileloc == str(bundle.files.path_of(dag_file.file_name)),
                        DagModel.is_stale.is_(False),
                        DagModel.has_import_errors.is_(False),
                        SerializedDagModel.dag_id == DagModel.dag_id,
                    )
                )
            )
        )


def _import_dag(path: Path, dag_file: DagFile) -> Any:
    """Import the written file: what is published is what workers will load, under the same policies."""
    from airflow import settings
    from airflow.sdk import DAG

    loader = importlib.machinery.SourceFileLoader(f"scale_dag_{dag_file.sha256}", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    if spec is None:
        raise EngineError(f"The generated DAG file {dag_file.file_name} can't be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(module)
        dag = module.dag
        dag.validate()
        dag.check_cycle()
        policies: Any = settings
        policies.dag_policy(dag)
        for task in dag.tasks:
            policies.task_policy(task)
    except Exception as error:
        raise EngineError(
            f"The generated DAG file {dag_file.file_name} can't be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(dag, DAG) or dag.dag_id != dag_file.dag_id:
        raise EngineError(
            f"The generated DAG file {dag_file.file_name} does not hold the DAG {dag_file.dag_id}"
        )
    dag.fileloc = str(path)
    dag.relative_fileloc = f"{dag_file.dag_id}/{dag_file.file_name}"
    return dag


def _serialize(bundle_name: str, dag: Any) -> None:
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from sqlalchemy import func, select

    import_errors: dict[tuple[str, str], str] = {}
    try:
        serialized = LazyDeserializedDAG.from_dag(dag)
    except Exception as error:
        raise EngineError(f"The DAG {dag.dag_id} can't be serialized: {error}") from error
    with _own_transaction(point="publish") as session:
        # Two API servers that publish the same DAG take turns.
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(dag.dag_id, 0))))
        ensure_bundle_row(session, bundle_name)
        update_dag_parsing_results_in_db(
            bundle_name,
            None,
            [serialized],
            import_errors,
            None,
            set(),
            session=session,
            files_parsed={(bundle_name, dag.relative_fileloc)},
        )
        if import_errors:
            raise EngineError(f"Airflow can't store the DAG {dag.dag_id}: {' '.join(import_errors.values())}")
        _check_is_latest(session, dag.dag_id, serialized)


def _check_is_latest(session: Session, dag_id: str, serialized: Any) -> None:
    """Notice that Airflow dropped the write, as it does within its minimal interval."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    hash_of: Any = SerializedDagModel.hash
    stored = session.scalar(
        select(SerializedDagModel.dag_hash)
        .join(DagVersion, DagVersion.id == SerializedDagModel.dag_version_id)
        .where(DagVersion.dag_id == dag_id)
        .order_by(DagVersion.version_number.desc())
        .limit(1)
    )
    if stored != hash_of(serialized.data):
        raise EngineError(
            f"Airflow did not store the new content of the DAG {dag_id}. Set "
            "[core] min_serialized_dag_update_interval = 0 and restart Airflow."
        )
