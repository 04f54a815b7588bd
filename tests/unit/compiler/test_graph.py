# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from scale_airflow.compiler import names
from scale_airflow.compiler.graph import RecipeGraph
from scale_airflow.definitions.recipe_definition import RecipeDefinition


def test_each_job_is_a_node_with_its_parents(recipe: dict[str, Any]) -> None:
    geotiff, points, statistics = RecipeGraph.of_document(recipe).nodes
    assert geotiff.name == "make geotiff"
    assert geotiff.task_id == names.task_id("make geotiff")
    assert geotiff.parents == ()
    assert (points.task_id, points.parents) == ("detect_points", (geotiff.task_id,))
    assert statistics.parents == (geotiff.task_id, "detect_points")
    assert points.pool == statistics.pool == names.pool_name("point-detector", "4.5.6")
    assert geotiff.pool != points.pool


def test_a_dependency_named_twice_is_one_edge(recipe: dict[str, Any]) -> None:
    recipe["jobs"][1]["dependencies"] *= 2
    assert len(RecipeGraph.of_document(recipe).nodes[1].parents) == 1


def test_the_published_document_and_the_parsed_definition_give_one_graph(recipe: dict[str, Any]) -> None:
    assert RecipeGraph.of(RecipeDefinition.parse(recipe)) == RecipeGraph.of_document(recipe)
