# SPDX-License-Identifier: Apache-2.0
"""Export and import: round trip, all or nothing, every fault at once, filters that cascade."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text

from scale_airflow.definitions.documents import load_json
from scale_airflow.errors import Forbidden, InvalidDocument, InvalidRequest
from scale_airflow.services import errors, installation, job_types, recipe_types, transfer, workspaces
from scale_airflow.services.publications import Publications
from scale_airflow.store.models import ErrorModel, JobType, RecipeType, TriggerRule

from .documents import PNG, definition, interface, job_type, recipe_type, rule, workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TERRAIN = Path(__file__).parents[3] / "examples" / "terrain" / "configuration.json"


def mapping(*names: str) -> dict[str, Any]:
    return {"version": "1.0", "exit_codes": {str(code): name for code, name in enumerate(names, 1)}}


def error(name: str) -> dict[str, Any]:
    return {"name": name, "title": name.title(), "description": "…", "category": "DATA"}


def document() -> dict[str, Any]:
    return {
        "version": "1.0",
        "errors": [error("bad-data"), error("worse-data"), error("unused")],
        "job_types": [
            job_type("first", error_mapping=mapping("bad-data"), category="a", trigger_rule=rule("INGEST")),
            job_type("second", version="2", error_mapping=mapping("worse-data", "unknown"), category="b"),
        ],
        "recipe_types": [
            recipe_type("both", runs=(("first", "1.0"), ("second", "2")), trigger_rule=rule(name="my-rule")),
            recipe_type("one", runs=(("second", "2"),), description="One"),
        ],
    }


@pytest.fixture
def installed(session: Session) -> Session:
    installation.initialize(session)
    workspaces.create_workspace(session, workspace())
    return session


def load(session: Session, imported: Any, **more: Any) -> transfer.Imported:
    return transfer.put_configuration(session, imported, Publications(), **more)


def having(done: transfer.Imported, outcome: str) -> list[str]:
    return [f"{what} {name}" for what, name, found in done.entries if found == outcome]


def names(part: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in part]


def test_round_trip(installed: Session) -> None:
    done = load(installed, document())
    assert len(having(done, "created")) == 7
    assert done.warnings == []
    first = transfer.export_configuration(installed)
    assert names(first["errors"]) == ["bad-data", "unused", "worse-data"]
    assert first["job_types"][0]["is_system"] is False
    assert first["recipe_types"][0]["trigger_rule"] == {**rule(name="my-rule"), "is_active": True}

    again = load(installed, json.loads(json.dumps(first)))
    assert len(having(again, "unchanged")) == len(again.entries) == 7
    assert again.warnings == []
    assert transfer.export_configuration(installed) == first
    revisions = installed.scalars(select(JobType.revision_num).where(JobType.is_system.is_(False))).all()
    assert set(revisions) == {1}
    rules = select(func.count()).select_from(TriggerRule).where(TriggerRule.type != "CLOCK")
    assert installed.scalar(rules) == 2

    elsewhere = installed
    elsewhere.rollback()
    installation.initialize(elsewhere)
    workspaces.create_workspace(elsewhere, workspace())
    load(elsewhere, first)
    assert transfer.export_configuration(elsewhere) == first


def test_import_changes_what_is_there(installed: Session) -> None:
    load(installed, document())
    changed = document()
    changed["errors"][0]["title"] = "New"
    changed["job_types"][0]["interface"] = interface(outputs=("image",))
    changed["job_types"][1]["trigger_rule"] = rule()
    changed["recipe_types"][0]["definition"] = definition(("first", "1.0"))
    changed["recipe_types"][1]["trigger_rule"] = None
    done = load(installed, changed)
    assert having(done, "created") == []
    assert having(done, "updated") == [
        "error bad-data",
        "job type first 1.0",
        "job type second 2",
        "recipe type both 1.0",
    ]
    first = job_types.find_job_type(installed, "first", "1.0")
    both = recipe_types.find_recipe_type(installed, "both", "1.0")
    assert first is not None
    assert both is not None
    assert (first.revision_num, both.revision_num) == (2, 2)


def test_import_of_parts_keeps_the_rest(installed: Session) -> None:
    load(installed, document())
    load(installed, {"job_types": [{"name": "first", "version": "1.0", "title": "New"}]})
    first = job_types.find_job_type(installed, "first", "1.0")
    assert first is not None
    assert first.title == "New"
    assert first.trigger_rule is not None
    load(
        installed,
        {
            "job_types": [
                {
                    "name": "first",
                    "version": "1.0",
                    "trigger_rule": {"configuration": rule()["configuration"], "is_active": False},
                }
            ]
        },
    )
    assert (first.trigger_rule.type, first.trigger_rule.is_active) == ("INGEST", False)


def test_interface_and_recipe_change_together(installed: Session) -> None:
    load(installed, document())
    renamed = document()
    renamed["job_types"][1]["interface"] = interface(input_name="picture")
    with pytest.raises(InvalidDocument) as caught:
        load(installed, {"job_types": renamed["job_types"]})
    assert {fault.path for fault in caught.value.faults} == {"/job_types/1/interface"}
    assert '"both"' in str(caught.value)
    assert '"one"' in str(caught.value)
    for each in renamed["recipe_types"]:
        each["definition"]["jobs"][-1]["recipe_inputs"][0]["job_input"] = "picture"
    assert len(having(load(installed, renamed), "updated")) == 3


def test_all_or_nothing_with_every_fault(installed: Session) -> None:
    broken = document()
    broken["errors"].append({"name": "incomplete"})
    broken["job_types"][0]["error_mapping"] = mapping("bad-dta")
    broken["job_types"].append({"name": "third", "version": "1"})
    broken["recipe_types"][1]["definition"]["jobs"][0]["job_type"]["name"] = "sceond"
    with pytest.raises(InvalidDocument) as caught:
        load(installed, broken)
    assert {fault.path for fault in caught.value.faults} == {
        "/errors/3",
        "/job_types/0/error_mapping/exit_codes/1",
        "/job_types/2",
        "/recipe_types/1/definition/jobs/0/job_type",
    }
    kept = [
        installed.scalar(select(func.count()).select_from(model).where(condition))
        for model, condition in (
            (ErrorModel, ErrorModel.category != "SYSTEM"),
            (JobType, JobType.is_system.is_(False)),
            (RecipeType, RecipeType.is_active),
        )
    ]
    assert kept == [0, 0, 0]


def test_faults_of_the_structure(installed: Session) -> None:
    wrong = {"errors": [{"name": 1}], "job_types": [{"name": "x"}], "recipe_type": [], "version": "2.0"}
    with pytest.raises(InvalidDocument) as caught:
        load(installed, wrong)
    assert {fault.path for fault in caught.value.faults} >= {
        "/errors/0/name",
        "/job_types/0",
        "/recipe_type",
        "/version",
    }
    for nothing in (None, [], "x", 3):
        with pytest.raises(InvalidDocument):
            load(installed, nothing)


def test_what_belongs_to_the_system_stays(installed: Session) -> None:
    wrong = {
        "errors": [error("timeout")],
        "job_types": [
            {"name": "scale-ingest", "version": "1.0", "title": "Mine"},
            job_type("mine", category="system"),
            job_type("mine", version="2", is_system=True),
        ],
    }
    with pytest.raises(InvalidDocument) as caught:
        load(installed, wrong)
    assert {fault.path for fault in caught.value.faults} == {
        "/job_types/1/category",
        "/job_types/2/is_system",
    }
    with pytest.raises(InvalidDocument) as caught:
        load(installed, {**wrong, "job_types": wrong["job_types"][:1]})
    assert {fault.path for fault in caught.value.faults} == {"/errors/0", "/job_types/0"}


def test_warnings(installed: Session) -> None:
    warned = document()
    warned["job_types"][0].update(revision_num=3, created="2015-03-11T00:00:00Z")
    warned["job_types"][1]["interface"] = interface(
        input_data=[{"name": "input_file", "type": "file", "media_types": ["text/plain"]}]
    )
    found = transfer.validate_import(installed, warned)
    assert sorted({each.id for each in found}) == ["media_type", "read-only"]
    assert len([each for each in found if each.id == "read-only"]) == 2
    assert f"Invalid media type for data input: input_file -> {PNG}" in {each.details for each in found}
    assert job_types.find_job_type(installed, "first", "1.0") is None
    assert installed.scalar(text("SELECT count(*) FROM slot_pool WHERE pool LIKE 'scale%'")) == 0


def test_privileges_need_permission(installed: Session) -> None:
    asked = {"job_types": [job_type("p", docker_privileged=True)]}
    with pytest.raises(Forbidden):
        load(installed, asked, may_use_privileged=False)


def test_filters_cascade(installed: Session) -> None:
    load(installed, document())
    one = recipe_types.find_recipe_type(installed, "one", "1.0")
    first = job_types.find_job_type(installed, "first", "1.0")
    unused = errors.find_error(installed, "unused")
    assert one is not None
    assert first is not None
    assert unused is not None

    def exported(**wanted: Any) -> tuple[list[str], list[str], list[str]]:
        found = transfer.export_configuration(installed, **wanted)
        return names(found["recipe_types"]), names(found["job_types"]), names(found["errors"])

    assert exported(recipe_type_ids=[one.id]) == (["one"], ["second"], ["worse-data"])
    assert exported(recipe_type_names=["both"]) == (["both"], ["first", "second"], ["bad-data", "worse-data"])
    assert exported(job_type_ids=[first.id]) == (["both", "one"], ["first"], ["bad-data"])
    assert exported(job_type_names=["second"], error_names=["bad-data"])[1:] == (["second"], [])
    assert exported(job_type_categories=["b"])[1:] == (["second"], ["worse-data"])
    assert exported(error_ids=[unused.id])[2] == ["unused"]
    assert exported(include=["errors"], recipe_type_ids=[one.id]) == ([], [], ["worse-data"])
    assert exported(include=["job_types", "recipe_types"])[2] == []
    assert exported(recipe_type_ids=[10**6]) == ([], [], [])
    with pytest.raises(InvalidRequest, match="recipe_types"):
        exported(include=["recipes"])


def test_the_example_is_valid_as_it_stands(installed: Session) -> None:
    for name in ("raw",):
        workspaces.create_workspace(installed, workspace(name))
    example = load_json(TERRAIN.read_text())
    done = load(installed, example)
    assert len(having(done, "created")) == sum(
        len(part) for part in example.values() if isinstance(part, list)
    )
    before = copy.deepcopy(transfer.export_configuration(installed))
    assert having(load(installed, example), "unchanged") == having(done, "created")
    assert transfer.export_configuration(installed) == before
