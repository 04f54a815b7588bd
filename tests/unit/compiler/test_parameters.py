# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from scale_airflow.compiler.parameters import form_fields, job_data, recipe_data


def test_the_form_asks_for_each_input_and_the_workspace(recipe: dict[str, Any]) -> None:
    fields = form_fields(recipe)
    assert list(fields) == ["image", "more images", "level", "workspace_id"]
    assert fields["image"]["type"] == ["null", "integer"]
    assert fields["more images"] | {"items": {"type": "integer"}} == fields["more images"]
    assert fields["level"]["type"] == ["null", "string"]
    assert "image/png" in fields["image"]["description"]
    assert "required" in fields["image"]["description"]
    assert "optional" in fields["level"]["description"]


def test_answers_become_recipe_data(recipe: dict[str, Any]) -> None:
    answers = {"image": 7, "more images": [8, 9], "level": None, "workspace_id": 2, "not an input": 1}
    assert recipe_data(recipe, answers) == {
        "version": "1.0",
        "input_data": [{"name": "image", "file_id": 7}, {"name": "more images", "file_ids": [8, 9]}],
        "workspace_id": 2,
    }
    assert recipe_data(recipe, {}) == {"version": "1.0", "input_data": []}


def test_answers_become_job_data(interface: dict[str, Any]) -> None:
    assert job_data(interface, {"image": 7, "workspace_id": 2}) == {
        "version": "1.0",
        "input_data": [{"name": "image", "file_id": 7}],
        "output_data": [{"name": "geo_image", "workspace_id": 2}],
    }
    assert job_data(interface, {"image": 7})["output_data"] == []


def test_an_input_may_have_the_workspace_fields_name(recipe: dict[str, Any]) -> None:
    recipe["input_data"].append({"name": "workspace_id", "type": "property"})
    assert list(form_fields(recipe))[-2:] == ["workspace_id", "scale_workspace_id"]
    data = recipe_data(recipe, {"workspace_id": "text", "scale_workspace_id": 3})
    assert data["workspace_id"] == 3
    assert data["input_data"] == [{"name": "workspace_id", "value": "text"}]
