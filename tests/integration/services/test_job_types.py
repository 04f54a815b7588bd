# SPDX-License-Identifier: Apache-2.0
"""Job types: defaults, revisions, pools, trigger rules, and the recipes that an edit would break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from scale_airflow.compiler import names
from scale_airflow.engine.pools import pool_slots
from scale_airflow.errors import Forbidden, InvalidDocument, InvalidRequest, NotFound
from scale_airflow.services import errors, installation, job_types, recipe_types, workspaces
from scale_airflow.store.models import JobType, JobTypeRevision

from .documents import interface, job_type, recipe_type, rule, workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def installed(session: Session) -> Session:
    """A database with the built-in things and a workspace."""
    installation.initialize(session)
    workspaces.create_workspace(session, workspace())
    return session


def create(session: Session, **changes: Any) -> JobType:
    made, _ = job_types.create_job_type(session, job_type(**changes), publish=False)
    return made


def edit(session: Session, made: JobType, document: dict[str, Any]) -> JobType:
    return job_types.edit_job_type(session, made.id, document, publish=False)[0]


def slots(session: Session, made: JobType) -> int | None:
    return pool_slots(session, names.pool_name(made.name, made.version))


def faults_of(error: InvalidDocument) -> set[str]:
    return {fault.path for fault in error.faults}


def test_defaults(installed: Session) -> None:
    made = create(installed)
    installed.expire_all()
    found = {
        name: getattr(made, name)
        for name in (
            "title",
            "description",
            "category",
            "priority",
            "timeout",
            "max_tries",
            "max_scheduled",
            "cpus_required",
            "mem_required",
            "disk_out_const_required",
            "disk_out_mult_required",
            "is_active",
            "is_operational",
            "requires_cleanup",
            "uses_docker",
            "is_paused",
            "is_system",
            "is_long_running",
            "docker_privileged",
            "revision_num",
            "error_mapping",
            "trigger_rule",
            "archived",
            "paused",
        )
    }
    assert found == {
        "title": None,
        "description": None,
        "category": None,
        "priority": 100,
        "timeout": 1800,
        "max_tries": 3,
        "max_scheduled": None,
        "cpus_required": 1.0,
        "mem_required": 64.0,
        "disk_out_const_required": 64.0,
        "disk_out_mult_required": 0.0,
        "is_active": True,
        "is_operational": True,
        "requires_cleanup": True,
        "uses_docker": True,
        "is_paused": False,
        "is_system": False,
        "is_long_running": False,
        "docker_privileged": False,
        "revision_num": 1,
        "error_mapping": {"version": "1.0", "exit_codes": {}},
        "trigger_rule": None,
        "archived": None,
        "paused": None,
    }
    revision = installed.scalars(select(JobTypeRevision).where(JobTypeRevision.job_type_id == made.id)).one()
    assert (revision.revision_num, revision.dag_id) == (1, names.job_dag_id("my-job", "1.0", 1))
    assert revision.interface == interface()
    assert slots(installed, made) == -1


def test_fields_that_scale_decides_are_ignored(installed: Session) -> None:
    made = create(
        installed, is_system=True, is_active=False, revision_num=7, paused="x", requires_cleanup=False
    )
    assert (made.is_system, made.is_active, made.revision_num) == (False, True, 1)


def test_name_and_version_exist(installed: Session) -> None:
    create(installed)
    create(installed, version="2.0")
    with pytest.raises(InvalidDocument, match="already") as caught:
        create(installed, category="system", error_mapping={"version": "1.0", "exit_codes": {"1": "unknwon"}})
    places = [fault.path for fault in caught.value.faults]
    assert sorted(places) == ["/category", "/error_mapping/exit_codes/1", "/version"]


def test_every_fault_at_once(installed: Session) -> None:
    document = {
        "name": "x",
        "version": "1",
        "interface": interface(command_arguments="${inptu_file}"),
        "error_mapping": {"version": "1.0", "exit_codes": {"1": "unknwon"}},
        "timeout": -1,
        "surprise": 1,
    }
    with pytest.raises(InvalidDocument) as caught:
        job_types.create_job_type(installed, document, publish=False)
    assert faults_of(caught.value) >= {"/interface/command_arguments", "/timeout", "/surprise"}

    document = job_type(
        error_mapping={"version": "1.0", "exit_codes": {"1": "unknwon"}},
        trigger_rule=rule(input_name="other"),
        category="system",
    )
    with pytest.raises(InvalidDocument) as caught:
        job_types.create_job_type(installed, document, publish=False)
    assert faults_of(caught.value) == {
        "/error_mapping/exit_codes/1",
        "/trigger_rule/configuration/data/input_data_name",
        "/trigger_rule/configuration/data",
        "/category",
    }
    assert "unknown" in str(caught.value)


def test_paused_type_has_no_slots(installed: Session) -> None:
    made = create(installed, is_paused=True, max_scheduled=4)
    assert made.paused is not None
    assert slots(installed, made) == 0
    edit(installed, made, {"is_paused": False})
    assert made.paused is None
    assert slots(installed, made) == 4
    edit(installed, made, {"is_paused": True})
    first = made.paused
    edit(installed, made, {"is_paused": True, "title": "x"})
    assert made.paused == first
    edit(installed, made, {"is_paused": False, "max_scheduled": None})
    assert slots(installed, made) == -1


def test_new_interface_is_a_new_revision(installed: Session) -> None:
    made = create(installed)
    edit(installed, made, {"title": "New", "interface": interface()})
    assert (made.title, made.revision_num) == ("New", 1)
    edit(installed, made, {"interface": interface(outputs=("image",)), "name": "other", "nonsense": [1]})
    assert (made.name, made.revision_num) == ("my-job", 2)
    revisions = installed.scalars(
        select(JobTypeRevision)
        .where(JobTypeRevision.job_type_id == made.id)
        .order_by(JobTypeRevision.revision_num)
    ).all()
    assert [(each.revision_num, len(each.interface["output_data"])) for each in revisions] == [(1, 0), (2, 1)]
    assert revisions[1].dag_id == names.job_dag_id("my-job", "1.0", 2)


def test_interface_that_breaks_a_recipe_is_refused(installed: Session) -> None:
    made = create(installed)
    recipe_types.create_recipe_type(installed, recipe_type("first"), publish=False)
    recipe_types.create_recipe_type(installed, recipe_type("second", version="3"), publish=False)
    with pytest.raises(InvalidDocument) as caught:
        edit(installed, made, {"interface": interface(input_name="renamed")})
    assert faults_of(caught.value) == {"/interface"}
    assert '"first" "1.0" would break' in str(caught.value)
    assert '"second" "3" would break' in str(caught.value)
    installed.refresh(made)
    assert made.revision_num == 1

    _, warnings = job_types.edit_job_type(
        installed,
        made.id,
        {
            "interface": interface(
                input_data=[{"name": "input_file", "type": "file", "media_types": ["text/plain"]}]
            )
        },
        publish=False,
    )
    assert [warning.id for warning in warnings] == ["media_type", "media_type"]


def test_system_types_stay(installed: Session) -> None:
    system = job_types.find_job_type(installed, "scale-ingest", "1.0")
    assert system is not None
    with pytest.raises(InvalidRequest, match="system"):
        edit(installed, system, {"is_paused": True})
    with pytest.raises(InvalidRequest, match="system"):
        job_types.validate_job_type(installed, job_type("scale-ingest"))


@pytest.mark.parametrize("number", [0, 99, 2**63, 10**40])
def test_no_such_type(installed: Session, number: int) -> None:
    with pytest.raises(NotFound):
        job_types.edit_job_type(installed, number, {})


def test_validation_keeps_nothing(installed: Session) -> None:
    assert job_types.validate_job_type(installed, job_type(trigger_rule=rule())) == []
    assert job_types.find_job_type(installed, "my-job", "1.0") is None
    made = create(installed)
    warnings = job_types.validate_job_type(
        installed,
        job_type(
            trigger_rule=rule(),
            interface=interface(
                input_data=[{"name": "input_file", "type": "file", "media_types": ["text/plain"]}]
            ),
        ),
    )
    assert [(each.id, each.details) for each in warnings] == [
        ("media_type", "Invalid media type for data input: input_file -> image/png")
    ]
    assert (made.revision_num, made.trigger_rule) == (1, None)
    assert installed.scalar(text("SELECT count(*) FROM dag")) == 0


def test_privileges_need_permission(installed: Session) -> None:
    for change in ({"docker_privileged": True}, {"uses_docker": False}):
        with pytest.raises(Forbidden):
            job_types.create_job_type(
                installed, job_type("p", **change), publish=False, may_use_privileged=False
            )
        installed.rollback()
        installation.initialize(installed)
        workspaces.create_workspace(installed, workspace())
    made = create(installed, docker_privileged=True, docker_image="a:1")
    job_types.edit_job_type(installed, made.id, {"priority": 1}, publish=False, may_use_privileged=False)
    with pytest.raises(Forbidden):
        job_types.edit_job_type(
            installed, made.id, {"docker_image": "b:1"}, publish=False, may_use_privileged=False
        )


def test_errors_of_the_mapping(installed: Session) -> None:
    errors.create_error(installed, {"name": "bad-data", "title": "", "description": "", "category": "DATA"})
    made = create(
        installed,
        error_mapping={"version": "1.0", "exit_codes": {"1": "unknown", "2": "bad-data", "3": "unknown"}},
    )
    assert [error.name for error in job_types.errors_of(installed, made)] == ["bad-data", "unknown"]


def test_publishes_its_dag(installed: Session) -> None:
    installed.commit()
    made, _ = job_types.create_job_type(installed, job_type("published", title="Über"))
    job_types.edit_job_type(installed, made.id, {"interface": interface(outputs=("image",))})
    installed.commit()
    found = (
        installed.execute(text("SELECT dag_id FROM dag WHERE NOT is_stale ORDER BY dag_id")).scalars().all()
    )
    assert set(found) == {names.job_dag_id("published", "1.0", number) for number in (1, 2)}
