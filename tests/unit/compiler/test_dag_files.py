# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.utils.file import might_contain_dag_via_default_heuristic

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import (
    DagFile,
    clock_dag_file,
    job_dag_file,
    metrics_dag_file,
    recipe_dag_file,
    split_file_name,
    strike_dag_file,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
# What would do harm if it were anything but a literal, or if it reached Airflow's or a shell's templates.
HOSTILE = (
    '"""',
    "'''",
    '"); raise SystemExit(1); ("',
    "a\nimport os\nos.abort()",
    "coding: utf-7 -*- coding: utf-16 -*-",
    "{{ 7 * 7 }} ${HOME} %(x)s {0} \\N{BULLET}",
    "trailing backslash \\",
    "/etc/passwd.md",
    "../../../etc/passwd",
    "\u202eright to left",
    "`code` | table | <script>alert(1)</script>",
    "漢字 with spaces. and dots..",
    "x" * 255,
)


def kinds(name: str, recipe: dict[str, Any], interface: dict[str, Any]) -> list[DagFile]:
    return [
        recipe_dag_file(name, name, 3, name, recipe),
        job_dag_file(name, name, 3, name, interface),
        strike_dag_file(name, 5, name),
        clock_dag_file(6, name, "PT1H", name, start=START),
        metrics_dag_file(7, name, "P1D", start=START),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_user_text_is_nothing_but_literals(
    name: str, recipe: dict[str, Any], interface: dict[str, Any]
) -> None:
    recipe["jobs"][0]["name"] = interface["command"] = name
    for dag_file in kinds(name, recipe, interface):
        tree = ast.parse(dag_file.source)
        docstring, imported, *assignments = tree.body
        assert isinstance(docstring, ast.Expr)
        assert isinstance(imported, ast.ImportFrom)
        *documents, dag = assignments
        for document in documents:
            assert isinstance(document, ast.Assign)
            ast.literal_eval(document.value)
        assert isinstance(dag, ast.Assign)
        call = dag.value
        assert isinstance(call, ast.Call)
        values = {word.arg: word.value for word in call.keywords}
        assert ast.literal_eval(values["name"]) == name
        assert all(isinstance(value, (ast.Constant, ast.Name)) for value in values.values())
        encoding, _ = tokenize.detect_encoding(io.BytesIO(dag_file.source.encode()).readline)
        assert encoding == "utf-8"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_files_name_is_no_path_and_says_what_the_file_is(
    name: str, recipe: dict[str, Any], interface: dict[str, Any]
) -> None:
    for dag_file in kinds(name, recipe, interface):
        assert "/" not in dag_file.file_name
        assert len(dag_file.file_name) <= 200  # a bundle version may have 200 characters
        dag_id, digest = split_file_name(dag_file.file_name)
        assert dag_id == dag_file.dag_id
        assert dag_file.sha256 == hashlib.sha256(dag_file.source.encode()).hexdigest()
        assert dag_file.sha256.startswith(digest)


def test_the_code_tab_shows_the_definition_and_where_it_is_from(recipe: dict[str, Any]) -> None:
    source = recipe_dag_file("Terrain maps", "1.0.0", 3, "Maps", recipe).source
    assert '# name      "Terrain maps"\n# version   "1.0.0"\n# revision  3\n' in source
    assert '    "jobs": [\n        {\n            "name": "make geotiff",\n' in source


def test_airflow_takes_the_file_for_a_dag_file(
    tmp_path: Any, recipe: dict[str, Any], interface: dict[str, Any]
) -> None:
    for dag_file in kinds("terrain", recipe, interface):
        path = tmp_path / dag_file.file_name
        path.write_text(dag_file.source)
        assert might_contain_dag_via_default_heuristic(str(path))


def test_the_same_revision_is_the_same_file_whatever_order_its_fields_came_in(recipe: dict[str, Any]) -> None:
    turned = {key: recipe[key] for key in reversed(recipe)}
    turned["jobs"] = [{key: job[key] for key in reversed(job)} for job in recipe["jobs"]]
    first = recipe_dag_file("terrain", "1", 1, None, recipe)
    assert first == recipe_dag_file("terrain", "1", 1, None, turned)
    recipe["jobs"].reverse()
    assert first.file_name != recipe_dag_file("terrain", "1", 1, None, recipe).file_name


def test_each_kind_has_the_id_that_services_compute(
    recipe: dict[str, Any], interface: dict[str, Any]
) -> None:
    assert [dag_file.dag_id for dag_file in kinds("a b", recipe, interface)] == [
        names.recipe_dag_id("a b", "a b", 3),
        names.job_dag_id("a b", "a b", 3),
        names.strike_dag_id("a b"),
        names.clock_dag_id(6, "a b"),
        names.clock_dag_id(7, "a b"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "dag.py",
        f"../{'a' * 32}.py",
        f"a/b.{'a' * 32}.py",
        f"a..b.{'a' * 32}.py",
        f"a.{'a' * 31}.py",
        f"a.{'A' * 32}.py",
        f"a.{'a' * 32}.py\n",
        f"a.{'a' * 32}.pyc",
    ],
)
def test_other_files_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a generated DAG file"):
        split_file_name(name)
