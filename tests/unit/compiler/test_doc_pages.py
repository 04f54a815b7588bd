# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from scale_airflow.compiler.doc_pages import job_page, recipe_page, strike_page


def test_the_page_says_what_runs_and_which_revision(recipe: dict[str, Any]) -> None:
    page = recipe_page("Terrain maps", "1.0.0", 3, "Maps", recipe)
    assert "| Recipe type | `Terrain maps` |" in page
    assert "| Revision | `3` |" in page
    assert "| `make geotiff` | `geotiff-maker 1.2.3` |" in page


def test_another_definition_is_another_page(recipe: dict[str, Any]) -> None:
    before = recipe_page("terrain", "1.0.0", None, None, recipe)
    recipe["jobs"][0]["recipe_inputs"][0]["job_input"] = "picture"
    assert recipe_page("terrain", "1.0.0", None, None, recipe) != before


def test_a_job_types_page_lists_inputs_and_outputs(interface: dict[str, Any]) -> None:
    page = job_page("maker", "1", 2, None, interface)
    assert "| `image` | `input, file` |" in page
    assert "| `geo_image` | `output, file` |" in page


@pytest.mark.parametrize("name", ["a|b", "`` ` ``", "a\n\n# heading", "x.md", "<b>bold</b>"])
def test_names_are_quoted(name: str, recipe: dict[str, Any]) -> None:
    for page in (recipe_page(name, name, 1, name, recipe), strike_page(name, 1, name)):
        # Airflow takes a page that ends in ".md" for the name of a file to read.
        assert not page.endswith(".md")
        (row,) = [line for line in page.split("\n") if line.startswith(("| Recipe type", "| Strike process"))]
        cell = row.replace("\\|", "").split("|")[2].strip()
        assert cell.startswith("`")
        assert cell.endswith("`")
