# SPDX-License-Identifier: Apache-2.0
"""Thousands of recipes with their jobs, executions and runs of Airflow: copies of one."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.orm import Session

from scale_airflow.store.models import Recipe

_FIRST = 1_000_000
"""Ids of copies are far beyond those that the database gives."""


def copy_recipe(session: Session, recipe: Recipe, copies: int) -> None:
    """Copy a dispatched recipe and all that belongs to it, here and in Airflow, so many times; commit.

    The copies of its job or execution ``n`` have ids above ``n`` million.
    """
    assert recipe.run_id is not None
    own = {"recipe": recipe.id, "dag": recipe.dag_id, "run": recipe.run_id, "copies": copies}
    run = "'copy-' || copy"
    of_run = "dag_id = :dag AND run_id = :run"
    of_recipe = "job_id IN (SELECT id FROM scale_job WHERE recipe_id = :recipe)"
    number = f"id * {_FIRST} + copy"
    _copy(session, "dag_run", of_run, {"id": f"{_FIRST} + copy", "run_id": run}, own)
    _copy(session, "task_instance", of_run, {"id": "gen_random_uuid()", "run_id": run}, own)
    _copy(session, "scale_recipe", "id = :recipe", {"id": number, "run_id": run}, own)
    at_recipe = {"recipe_id": f"recipe_id * {_FIRST} + copy"}
    _copy(session, "scale_job", "recipe_id = :recipe", {"id": number, "run_id": run, **at_recipe}, own)
    of_job = {"job_id": f"job_id * {_FIRST} + copy"}
    _copy(session, "scale_job_execution", of_recipe, {"id": number, **of_job}, own)
    _copy(session, "scale_job_input_file", of_recipe, of_job, own)
    session.execute(text("ANALYZE"))
    session.commit()


def _copy(
    session: Session, table: str, which: str, changes: Mapping[str, str], own: Mapping[str, object]
) -> None:
    columns = session.scalars(
        text(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = :table AND table_schema = current_schema() AND is_generated = 'NEVER'"
        ),
        {"table": table},
    ).all()
    values = ", ".join(changes.get(name, f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    session.execute(
        text(
            f"INSERT INTO {table} ({names}) SELECT {values} "
            f"FROM {table}, generate_series(1, :copies) AS copy WHERE {which}"
        ),
        dict(own),
    )
