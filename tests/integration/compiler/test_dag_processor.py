# SPDX-License-Identifier: Apache-2.0
"""What Airflow's DAG processor makes of the files that were published already."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.engine.bundle_row import configured_bundle
from scale_airflow.engine.publishing import hide, publish

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture
def published(session: Session, dags_dir: Path, dag_files: list[DagFile]) -> list[DagFile]:
    configured_bundle.cache_clear()
    for dag_file in dag_files[:3]:
        publish(dag_file)
    yield dag_files[:3]
    configured_bundle.cache_clear()


def process(session: Session) -> None:
    """Parse every file that Airflow sees and store the result, then take away what it does not see."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.file import list_py_file_paths

    bundle = configured_bundle()
    bag = DagBag(bundle.path, safe_mode=True, bundle_path=bundle.path, bundle_name=bundle.name)
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    sync_bag_to_db(bag, bundle.name, None, session=session)
    seen = {str(Path(path).relative_to(bundle.path)) for path in list_py_file_paths(bundle.path)}
    DagModel.deactivate_deleted_dags(bundle_name=bundle.name, rel_filelocs=seen, session=session)
    session.commit()


def stale(session: Session) -> dict[str, bool]:
    from airflow.models.dag import DagModel

    session.expire_all()
    return dict(session.execute(select(DagModel.dag_id, DagModel.is_stale)).all())


def test_a_later_parse_finds_nothing_new(session: Session, published: list[DagFile]) -> None:
    from airflow.models.dag_version import DagVersion

    process(session)
    process(session)
    assert session.scalar(select(func.count()).select_from(DagVersion)) == len(published)
    assert set(stale(session).values()) == {False}


def test_a_hidden_dag_stays_hidden(session: Session, published: list[DagFile]) -> None:
    hide([published[0].dag_id], session)
    session.commit()
    process(session)
    assert stale(session)[published[0].dag_id]
    assert [dag_id for dag_id, is_stale in stale(session).items() if is_stale] == [published[0].dag_id]


def test_a_file_that_was_hidden_on_disk_only_becomes_stale(
    session: Session, published: list[DagFile]
) -> None:
    configured_bundle().files.hide(published[1].dag_id)
    process(session)
    assert stale(session)[published[1].dag_id]


def test_a_dag_processor_that_was_first_changes_nothing(
    session: Session, dags_dir: Path, dag_files: list[DagFile]
) -> None:
    """The file is on disk before its rows are written, so the DAG processor may come in between."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion

    configured_bundle.cache_clear()
    publish(dag_files[0])
    configured_bundle().files.write(dag_files[1])
    process(session)
    assert session.get(DagModel, dag_files[1].dag_id) is not None
    publish(dag_files[1])
    assert session.scalar(select(func.count()).select_from(DagVersion)) == 2
    configured_bundle.cache_clear()
