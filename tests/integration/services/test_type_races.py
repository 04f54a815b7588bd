# SPDX-License-Identifier: Apache-2.0
"""Several at once: a name is given once, revisions have no gaps, recipes always fit their job types."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.errors import InvalidDocument
from scale_airflow.services import facts, installation, job_types, recipe_types, transfer, workspaces
from scale_airflow.services.interfaces import Interfaces
from scale_airflow.services.publications import Publications
from scale_airflow.store.models import JobTypeRevision, RecipeType, RecipeTypeRevision
from scale_airflow.store.session import transaction

from .documents import definition, interface, job_type, recipe_type, rule, workspace


@pytest.fixture(autouse=True)
def installed(database: str) -> None:
    with transaction() as session:
        installation.initialize(session)
        workspaces.create_workspace(session, workspace())
        for name in ("my-job", "other-job"):
            job_types.create_job_type(session, job_type(name), publish=False)


def at_once(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all actions together; return their results, or the refusal of each."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        start.wait(timeout=30)
        try:
            return action()
        except InvalidDocument as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def test_a_name_is_given_once() -> None:
    def create() -> int:
        with transaction() as session:
            return job_types.create_job_type(session, job_type("new", trigger_rule=rule()), publish=False)[
                0
            ].id

    results = at_once([create] * 8)
    assert len([each for each in results if isinstance(each, int)]) == 1
    assert all("already" in str(each) for each in results if not isinstance(each, int))


def test_revisions_have_no_gaps() -> None:
    with transaction() as session:
        made, _ = recipe_types.create_recipe_type(session, recipe_type(), publish=False)
        number = made.id
    first = definition(("my-job", "1.0"))

    def edit(index: int) -> Callable[[], None]:
        document = {
            **first,
            "input_data": [
                *first["input_data"],
                {"name": f"extra {index}", "type": "file", "required": False},
            ],
        }

        def run() -> None:
            with transaction() as session:
                recipe_types.edit_recipe_type(session, number, {"definition": document}, publish=False)

        return run

    assert at_once([edit(index) for index in range(8)]) == [None] * 8
    with transaction() as session:
        revisions = session.scalars(
            select(RecipeTypeRevision.revision_num).order_by(RecipeTypeRevision.revision_num)
        ).all()
        assert revisions == list(range(1, 10))
        row = session.get(RecipeType, number)
        assert row is not None
        current = facts.current_recipe_revision(session, row)
        assert current.revision_num == 9
        assert current.definition == row.definition


def test_recipes_and_interfaces_never_part() -> None:
    """While an input is renamed, recipes that use the old or the new name come up: what is stored fits."""
    with transaction() as session:
        found = job_types.find_job_type(session, "my-job", "1.0")
        assert found is not None
        number = found.id

    def rename() -> None:
        with transaction() as session:
            renamed = interface(input_name="renamed")
            job_types.edit_job_type(session, number, {"interface": renamed}, publish=False)

    def create(index: int) -> Callable[[], None]:
        def run() -> None:
            document = recipe_type(f"recipe {index}", runs=(("other-job", "1.0"), ("my-job", "1.0")))
            if index % 2:
                document["definition"]["jobs"][1]["recipe_inputs"][0]["job_input"] = "renamed"
            with transaction() as session:
                recipe_types.create_recipe_type(session, document, publish=False)

        return run

    at_once([rename, *(create(index) for index in range(6)), rename])
    with transaction() as session:
        stored = session.scalars(select(RecipeType)).all()
        for each in stored:
            parsed = RecipeDefinition.parse(each.definition)
            parsed.check(Interfaces(session, parsed.job_types()))
        revisions = session.scalars(
            select(JobTypeRevision).where(JobTypeRevision.job_type_id == number)
        ).all()
    assert len(revisions) in (1, 2)


def test_imports_and_edits_do_not_block_each_other() -> None:
    with transaction() as session:
        runs = (("my-job", "1.0"), ("other-job", "1.0"))
        recipe_types.create_recipe_type(session, recipe_type(runs=runs), publish=False)
        exported = transfer.export_configuration(session)
        numbers = [each.id for each in Interfaces(session, runs).job_types.values()]
        recipe_number = session.scalars(select(RecipeType.id)).one()

    def imported(title: str, *, backwards: bool) -> Callable[[], None]:
        entries = [{**each, "title": title} for each in exported["job_types"]]
        document = {**exported, "job_types": entries[::-1] if backwards else entries}

        def run() -> None:
            with transaction() as session:
                transfer.put_configuration(session, document, Publications())

        return run

    def edit_types(index: int) -> Callable[[], None]:
        def run() -> None:
            with transaction() as session:
                job_types.edit_job_type(session, numbers[index % 2], {"priority": index}, publish=False)

        return run

    def edit_recipe() -> None:
        with transaction() as session:
            recipe_types.edit_recipe_type(
                session, recipe_number, {"definition": definition(*runs[::-1])}, publish=False
            )

    results = at_once(
        [
            imported("a", backwards=False),
            imported("b", backwards=True),
            edit_types(0),
            edit_types(1),
            edit_recipe,
            imported("c", backwards=True),
        ]
    )
    assert results == [None] * 6


def test_adoption_of_one_definition_by_many_tasks() -> None:
    def ensure() -> int:
        with transaction() as session:
            return recipe_types.ensure_recipe_type(
                session, name="mine", version="1", title=None, definition=definition(("my-job", "1.0"))
            ).id

    assert len(set(at_once([ensure] * 6))) == 1


def test_more_publish_at_once_than_the_pool_has_connections() -> None:
    """Each holds a connection while its DAG is published over another one: nobody waits for a second one."""
    plain = {"command": "run", "command_arguments": ""}

    def create(index: int) -> Callable[[], None]:
        def run() -> None:
            with transaction() as session:
                job_types.create_job_type(
                    session, {"name": f"type {index}", "version": "1", "interface": plain}
                )

        return run

    assert at_once([create(index) for index in range(24)]) == [None] * 24
