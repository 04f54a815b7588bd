# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import structlog
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.sdk.execution_time import task_runner

from scale_airflow.compiler.bundle import ScaleDagBundle, file_of_version, version_of_file
from scale_airflow.compiler.dag_files import DagFile
from scale_airflow.compiler.local_files import LocalDagFiles
from scale_airflow.errors import ScaleApiError

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


class Identity:
    """The part of a task instance's message to a worker that finding its DAG needs."""

    def __init__(self, dag_id: str, task_id: str) -> None:
        self.dag_id, self.task_id = dag_id, task_id

    def model_dump(self, **_: object) -> dict[str, Any]:
        return {"dag_id": self.dag_id, "task_id": self.task_id}


def start_task(dag_file: DagFile, *, version: str | None = None) -> Any:
    """Do what a worker does when a task starts: get the bundle, load the DAG's file, find the task."""
    startup = types.SimpleNamespace(
        bundle_info=types.SimpleNamespace(name="scale", version=version),
        dag_rel_path=LocalDagFiles.relative_path_of(dag_file.file_name),
        ti=Identity(dag_file.dag_id, "job"),
        ti_context=types.SimpleNamespace(max_tries=0, should_retry=False),
        start_date=None,
        sentry_integration="",
    )
    return task_runner.parse(startup, structlog.get_logger())  # type: ignore[arg-type]


def loaded_files() -> set[str]:
    return {name for name in sys.modules if name.startswith("unusual_prefix_")}


@pytest.fixture
def origin(dags_dir: Path, dag_files: list[DagFile]) -> LocalDagFiles:
    """A host into which ten files were published."""
    files = LocalDagFiles(dags_dir)
    for dag_file in dag_files:
        files.write(dag_file)
    files.mark_as_origin()
    return files


def test_airflow_gets_the_bundle_of_its_configuration(dags_dir: Path) -> None:
    bundle = DagBundlesManager().get_bundle("scale")  # type: ignore[no-untyped-call]
    assert isinstance(bundle, ScaleDagBundle)
    assert bundle.path == dags_dir
    assert not bundle.supports_versioning
    assert bundle.get_current_version() is None  # type: ignore[func-returns-value]
    assert not dags_dir.exists()  # the class is made in many places, the directory only where it is used
    assert ScaleDagBundle(name="scale", path="/elsewhere").path == Path("/elsewhere")


def test_a_task_loads_its_own_file_and_no_other(origin: LocalDagFiles, dag_files: list[DagFile]) -> None:
    before = loaded_files()
    task = start_task(dag_files[3], version=version_of_file(dag_files[3].file_name))
    assert task.task.task_id == "job"
    assert task.task.dag.dag_id == dag_files[3].dag_id
    assert len(loaded_files() - before) == 1


def test_where_files_are_published_a_task_asks_nobody(
    origin: LocalDagFiles, dag_files: list[DagFile], server: Any
) -> None:
    start_task(dag_files[0], version=version_of_file(dag_files[0].file_name))
    start_task(dag_files[1])  # a run that somebody started by hand
    DagBundlesManager().get_bundle("scale").refresh()  # type: ignore[no-untyped-call]
    assert server.requests == []


def test_a_task_elsewhere_fetches_its_file_once(
    dags_dir: Path, dag_files: list[DagFile], server: Any
) -> None:
    server.files = dag_files
    version = version_of_file(dag_files[5].file_name)
    for _ in range(2):
        assert start_task(dag_files[5], version=version).task.dag.dag_id == dag_files[5].dag_id
    assert len(server.requests) == 1
    assert list(LocalDagFiles(dags_dir).all_files()) == [dag_files[5].file_name]


def test_a_task_of_a_run_started_by_hand_fetches_what_is_new(
    dags_dir: Path, dag_files: list[DagFile], server: Any
) -> None:
    server.files = dag_files[:7]
    start_task(dag_files[2])
    assert len(list(LocalDagFiles(dags_dir).all_files())) == 7
    server.requests.clear()
    server.files = dag_files
    start_task(dag_files[9])
    assert server.requests[0].endswith("?after=7")
    assert len(list(LocalDagFiles(dags_dir).all_files())) == 10


@pytest.mark.parametrize("where", ["origin", "elsewhere"])
def test_a_damaged_file_is_replaced_before_it_is_loaded(
    dags_dir: Path, dag_files: list[DagFile], server: Any, where: str
) -> None:
    server.files = dag_files
    files = LocalDagFiles(dags_dir)
    path = files.write(dag_files[0])
    if where == "origin":
        files.mark_as_origin()
    path.write_text("raise RuntimeError('damaged')\n")
    task = start_task(dag_files[0], version=version_of_file(dag_files[0].file_name))
    assert task.task.dag.dag_id == dag_files[0].dag_id
    assert path.read_text() == dag_files[0].source


def test_a_refresh_repairs_what_was_published_here(
    origin: LocalDagFiles, dag_files: list[DagFile], server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = ScaleDagBundle(name="scale")
    origin.path_of(dag_files[1].file_name).write_text("damaged")
    origin.path_of(dag_files[2].file_name).write_text("damaged")
    server.files = dag_files[:2]
    bundle.refresh()
    assert origin.is_intact(dag_files[1].file_name)
    assert f"{dag_files[2].file_name} stays damaged" in caplog.text
    assert len(server.requests) == 2


def test_a_mirror_that_can_not_be_completed_stops_airflow_from_deleting_its_dags(
    dags_dir: Path, server: Any
) -> None:
    server.status = 500
    with pytest.raises(ScaleApiError):
        ScaleDagBundle(name="scale").refresh()
    with pytest.raises(ScaleApiError):
        ScaleDagBundle(name="scale").initialize()


def test_another_content_is_never_kept(dags_dir: Path, dag_files: list[DagFile], server: Any) -> None:
    server.files = dag_files
    server.spoiled = b"import os\n"
    with pytest.raises(ScaleApiError, match="another content"):
        start_task(dag_files[0], version=version_of_file(dag_files[0].file_name))
    assert list(LocalDagFiles(dags_dir).all_files()) == []


def test_a_refusal_says_so_without_the_secret(dags_dir: Path, dag_files: list[DagFile], server: Any) -> None:
    server.status = 403
    with pytest.raises(ScaleApiError, match="403") as raised:
        start_task(dag_files[0], version=version_of_file(dag_files[0].file_name))
    assert "secret" not in str(raised.value)


def test_without_a_connection_the_remedy_is_named(
    dags_dir: Path, dag_files: list[DagFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", '{"conn_type": "scale"}')
    with pytest.raises(ScaleApiError, match="scale_default"):
        start_task(dag_files[0], version=version_of_file(dag_files[0].file_name))


def test_a_dag_processor_elsewhere_mirrors_files_and_what_is_hidden(
    dags_dir: Path, dag_files: list[DagFile], server: Any
) -> None:
    server.files = dag_files
    server.hidden = {dag_files[4].dag_id}
    bundle = ScaleDagBundle(name="scale")
    bundle.initialize()
    files = bundle.files
    assert set(files.all_files()) - set(files.visible_files()) == {dag_files[4].file_name}
    server.hidden = {dag_files[5].dag_id}
    files.path_of(dag_files[6].file_name).write_text("damaged")
    bundle.refresh()
    assert set(files.all_files()) - set(files.visible_files()) == {dag_files[5].file_name}
    assert files.is_intact(dag_files[6].file_name)


@pytest.mark.parametrize("file_name", ["../../etc/passwd", "dag.py", None])
def test_a_listing_with_other_files_is_refused(dags_dir: Path, server: Any, file_name: Any) -> None:
    server.files = [types.SimpleNamespace(dag_id="a", file_name=file_name, sha256="", source="")]
    with pytest.raises(ScaleApiError, match="can't be read"):
        ScaleDagBundle(name="scale").initialize()


@pytest.mark.parametrize("version", [None, "", "main", "../../etc/passwd", "a" * 40])
def test_only_a_generated_files_name_is_a_version(version: str | None) -> None:
    assert file_of_version(version) is None


def test_a_hidden_dags_task_still_starts(origin: LocalDagFiles, dag_files: list[DagFile]) -> None:
    origin.hide(dag_files[0].dag_id)
    assert start_task(dag_files[0], version=version_of_file(dag_files[0].file_name)).task.task_id == "job"
    assert start_task(dag_files[0]).task.task_id == "job"
