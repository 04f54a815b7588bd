# SPDX-License-Identifier: Apache-2.0
"""Set-up documents: everything in the right order, as often as one likes, never out of their directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text

from scale_airflow.errors import InvalidDocument
from scale_airflow.services import installation, setup
from scale_airflow.store.models import JobType, Strike, Workspace

from .documents import job_type, recipe_type, rule

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the directories and the configuration that :func:`document` refers to."""
    monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
    for name in ("raw", "products", "incoming"):
        (tmp_path / name).mkdir()
    configuration = {
        "job_types": [job_type(trigger_rule=rule("INGEST"))],
        "recipe_types": [recipe_type()],
    }
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "configuration.json").write_text(json.dumps(configuration))
    return tmp_path


@pytest.fixture
def installed(session: Session) -> Session:
    installation.initialize(session)
    session.commit()
    return session


def document(directory: Path) -> dict[str, Any]:
    return {
        "version": "1.0",
        "workspaces": [
            {
                "name": name,
                "json_config": {
                    "broker": {"type": "nfs", "mount": f"demo:/{name}", "mount_on": str(directory / name)}
                },
            }
            for name in ("raw", "products")
        ],
        "configuration": "conf/configuration.json",
        "strikes": [
            {
                "name": "arrivals",
                "title": "Arrivals",
                "configuration": {
                    "version": "1.0",
                    "mount": "demo:/incoming",
                    "mount_on": str(directory / "incoming"),
                    "transfer_suffix": "_tmp",
                    "files_to_ingest": [
                        {"filename_regex": ".*png", "workspace_path": "png", "workspace_name": "raw"}
                    ],
                },
            }
        ],
    }


def test_applied_twice(installed: Session, directory: Path) -> None:
    first = setup.apply_setup(installed, document(directory), directory)
    installed.commit()
    assert [(row["what"], row["name"], row["outcome"]) for row in first.rows()] == [
        ("workspace", "raw", "created"),
        ("workspace", "products", "created"),
        ("job type", "my-job 1.0", "created"),
        ("recipe type", "my-recipe 1.0", "created"),
        ("Strike process", "arrivals", "created"),
    ]
    assert first.warnings == []
    dags = installed.execute(text("SELECT count(*) FROM dag WHERE NOT is_stale")).scalar()
    assert dags == 3

    again = setup.apply_setup(installed, document(directory), directory)
    installed.commit()
    assert {row["outcome"] for row in again.rows()} == {"unchanged"}

    changed = document(directory)
    changed["workspaces"][0]["title"] = "Raw"
    changed["strikes"][0]["title"] = "Arriving"
    rows = setup.apply_setup(installed, changed, directory).rows()
    assert [row["name"] for row in rows if row["outcome"] == "updated"] == ["raw", "arrivals"]


def test_all_or_nothing_with_every_fault(installed: Session, directory: Path) -> None:
    broken = document(directory)
    broken["strikes"][0]["configuration"]["files_to_ingest"][0]["workspace_name"] = "rwa"
    configuration = {"job_types": [job_type(trigger_rule=rule(input_name="x"))]}
    (directory / "conf" / "configuration.json").write_text(json.dumps(configuration))
    with pytest.raises(InvalidDocument) as caught:
        setup.apply_setup(installed, broken, directory)
    assert {fault.path for fault in caught.value.faults} == {
        "/strikes/0/configuration/files_to_ingest/0/workspace_name",
        "conf/configuration.json#/job_types/0/trigger_rule/configuration/data/input_data_name",
        "conf/configuration.json#/job_types/0/trigger_rule/configuration/data",
    }
    for model in (Workspace, Strike):
        assert installed.scalar(select(func.count()).select_from(model)) == 0
    assert (
        installed.scalar(select(func.count()).select_from(JobType).where(JobType.is_system.is_(False))) == 0
    )
    assert installed.scalar(text("SELECT count(*) FROM dag")) == 0


def test_a_missing_configuration_hides_nothing(installed: Session, directory: Path) -> None:
    broken = document(directory)
    broken["strikes"][0]["configuration"]["files_to_ingest"][0]["workspace_name"] = "rwa"
    with pytest.raises(InvalidDocument) as caught:
        setup.apply_setup(installed, {**broken, "configuration": "none.json"}, directory)
    assert {fault.path for fault in caught.value.faults} == {
        "/configuration",
        "/strikes/0/configuration/files_to_ingest/0/workspace_name",
    }
    assert installed.scalar(select(func.count()).select_from(Workspace)) == 0


def test_configuration_stays_inside(installed: Session, directory: Path) -> None:
    inner = directory / "conf"
    (directory / "secret.json").write_text("{}")
    (inner / "link.json").symlink_to(directory / "secret.json")
    (inner / "broken.json").write_text('{"version": "1.0",')
    for path, told in {
        "../secret.json": "..",
        "/etc/passwd": "absolute",
        "link.json": "leads out",
        "missing.json": "No such file",
        ".": "",
        "broken.json": "not JSON",
    }.items():
        with pytest.raises(InvalidDocument) as caught:
            setup.apply_setup(installed, {"configuration": path}, inner)
        assert told in str(caught.value), path


def test_empty_set_up(installed: Session, directory: Path) -> None:
    assert setup.apply_setup(installed, {}, directory).rows() == []
