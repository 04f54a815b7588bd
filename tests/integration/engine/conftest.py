# SPDX-License-Identifier: Apache-2.0
"""Types to publish, and what Airflow's scheduler would do with their runs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from scale_airflow.compiler.dag_files import DagFile, recipe_dag_file

RECIPE: dict[str, Any] = {
    "version": "1.0",
    "input_data": [{"name": "image", "type": "file"}],
    "jobs": [
        {"name": "first", "job_type": {"name": "maker", "version": "1.0"}},
        {
            "name": "second job",
            "job_type": {"name": "finder", "version": "1.0"},
            "dependencies": [{"name": "first"}],
        },
    ],
}


@pytest.fixture(scope="session", autouse=True)
def _fab_is_imported() -> None:
    """Import what Airflow imports when it first stores a DAG under FAB; its warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.providers.fab.www.security_appless  # noqa: F401


@pytest.fixture
def recipe() -> dict[str, Any]:
    """A recipe definition of two jobs, one after the other."""
    return copy.deepcopy(RECIPE)


@pytest.fixture
def dags_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of generated files of the test's own."""
    from scale_airflow.engine.bundle_row import configured_bundle

    monkeypatch.setenv("AIRFLOW__SCALE__DAGS_DIR", str(tmp_path / "dags"))
    configured_bundle.cache_clear()
    yield tmp_path / "dags"
    configured_bundle.cache_clear()


@pytest.fixture
def published(database: str, dags_dir: Path, recipe: dict[str, Any]) -> DagFile:
    """The first revision of a recipe type, published."""
    from scale_airflow.engine.publishing import publish

    dag_file = recipe_dag_file("terrain maps", "1.0.0", 1, "Terrain", recipe)
    publish(dag_file)
    return dag_file


@pytest.fixture
def schedule(session: Session) -> Callable[[str, str], None]:
    """Let Airflow's scheduler look at one run: states of tasks and run follow, nothing is executed."""

    def look(dag_id: str, run_id: str) -> None:
        from airflow.models.dagbag import DBDagBag
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState
        from sqlalchemy import select

        session.expire_all()
        run = session.scalars(
            select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id).with_for_update(of=DagRun)
        ).one()
        run.dag = DBDagBag().get_dag_for_run(run, session)
        if run.state == DagRunState.QUEUED:
            run.set_state(DagRunState.RUNNING)
        ready, _ = run.update_state(session=session, execute_callbacks=False)
        run.schedule_tis(ready, session=session)
        session.commit()

    return look
