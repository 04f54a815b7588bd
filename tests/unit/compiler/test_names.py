# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from airflow.sdk.definitions._internal.node import validate_key
from hypothesis import example, given
from hypothesis import strategies as st

from scale_airflow.compiler import names

# Names that Scale allows anywhere; some of them differ in nothing that Airflow allows.
TEXTS = st.one_of(
    st.text(min_size=1, max_size=255),
    st.text(alphabet="ab_.- é漢", min_size=1, max_size=6),
    st.text(alphabet="a", min_size=55, max_size=255),
)
REVISIONS = st.integers(min_value=1, max_value=2**31 - 1)
TYPES = st.tuples(TEXTS, TEXTS, REVISIONS)


@given(first=TYPES, second=TYPES)
@example(first=("a b", "1", 1), second=("a_b", "1", 1))
@example(first=("a", "1.0", 1), second=("a", "1_0", 1))
@example(first=("a.b", "c", 1), second=("a", "b.c", 1))
@example(first=("a" * 61, "1", 1), second=("a" * 62, "1", 1))
@example(first=("a", "1", 12), second=("a", "1", 1))
def test_another_name_version_or_revision_is_another_id(
    first: tuple[str, str, int], second: tuple[str, str, int]
) -> None:
    for make in (names.recipe_dag_id, names.job_dag_id):
        assert (make(*first) == make(*second)) == (first == second)
    same_type = first[:2] == second[:2]
    assert (names.pool_name(*first[:2]) == names.pool_name(*second[:2])) == same_type
    assert names.recipe_dag_id(*first) != names.job_dag_id(*second)


@given(first=TEXTS, second=TEXTS)
@example(first="make geotiff", second="make_geotiff")
def test_another_job_name_is_another_task_id(first: str, second: str) -> None:
    assert (names.task_id(first) == names.task_id(second)) == (first == second)
    assert (names.strike_dag_id(first) == names.strike_dag_id(second)) == (first == second)


@given(name=TEXTS, version=TEXTS, revision=REVISIONS)
@example(name="é" * 255, version="." * 255, revision=2**31 - 1)
def test_every_id_is_one_that_airflow_takes(name: str, version: str, revision: int) -> None:
    ids = [
        names.recipe_dag_id(name, version, revision),
        names.job_dag_id(name, version, revision),
        names.strike_dag_id(name),
        names.clock_dag_id(revision, name),
        names.task_id(name),
        names.pool_name(name, version),
    ]
    for identifier in ids:
        validate_key(identifier)
        assert identifier.isascii()
        assert ".." not in identifier


def test_a_name_that_is_an_identifier_already_stays_as_it_is() -> None:
    assert names.recipe_dag_id("terrain", "v1", 3) == "scale_recipe.terrain.v1.r3"
    assert names.task_id("make-geotiff_2") == "make-geotiff_2"


def test_what_airflow_can_not_take_stays_readable_and_gets_a_hash() -> None:
    dag_id = names.recipe_dag_id("terrain", "1.0.0", 3)
    prefix, name, version, digest, revision = dag_id.split(".")
    assert (prefix, name, version, revision) == ("scale_recipe", "terrain", "1_0_0", "r3")
    assert len(digest) == 8
    assert names.task_id("Make the GeoTIFF").startswith("Make_the_GeoTIFF.")


def test_run_ids_are_the_keys_that_services_rely_on() -> None:
    assert names.recipe_run_id(7) == "scale-recipe-7"
    assert names.job_run_id(8) == "scale-job-8"


@pytest.mark.parametrize("text", ["", " ", "..", "\n", "\ud800"])
def test_odd_text_still_has_a_slug(text: str) -> None:
    assert names.slug(text).startswith("_")
