# SPDX-License-Identifier: Apache-2.0
"""Templates leave ``${…}`` alone and take for a file only what is meant as one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.operators.rescale_templates import protected


def operator(folder: Path, **arguments: Any) -> RescaleSubmitJobOperator:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    with DAG("d", schedule=None, start_date=start, template_searchpath=str(folder)) as dag:
        made = RescaleSubmitJobOperator(task_id="t", **arguments)
    made.dag = dag
    return made


def rendered(made: RescaleSubmitJobOperator, **context: Any) -> RescaleSubmitJobOperator:
    made.render_template_fields(context, made.get_template_env(made.get_dag()))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    "command",
    [
        "echo ${x}",
        "echo ${#x[@]} ${x#a} ${x##*/} ${x%.txt} ${x%%.*} ${x:-{y}}",
        '${x?string("0.00##")}',
        "awk '{print $1}' $(ls) ${%x}",
        "python run.py case.json",
        "sh run.yaml",
    ],
)
def test_a_command_stays_as_it_is(tmp_path, command):
    assert rendered(operator(tmp_path, command=command)).command == command


def test_what_is_jinjas_is_rendered(tmp_path):
    made = operator(
        tmp_path,
        command="run {{ case }} ${#x} {# a comment #}",
        inputs=["{{ case }}/a.json", {"path": "b.yaml"}],
        env_vars={"A": "{{ case }}"},
        max_cost="{{ 3 * 4 }}",
    )
    rendered(made, case="wing")
    assert made.command == "run wing ${#x} "
    assert made.inputs == ["wing/a.json", {"path": "b.yaml"}]
    assert made.env_vars == {"A": "wing"}
    assert made.max_cost == "12"


def test_a_jobs_file_is_read_when_the_dag_is_parsed_and_rendered_later(tmp_path):
    (tmp_path / "job.yaml").write_text("name: {{ case }}\njobanalyses:\n- command: echo ${#x}\n")
    made = operator(tmp_path, job="job.yaml")
    made.resolve_template_files()
    assert made.job.startswith("name: {{ case }}")
    assert rendered(made, case="wing").job == "name: wing\njobanalyses:\n- command: echo ${#x}"


def test_a_jobs_file_may_come_by_mapping(tmp_path):
    (tmp_path / "job.json").write_text('{"name": "{{ case }}"}')
    made = operator(tmp_path, job="job.json")
    assert rendered(made, case="wing").job == '{"name": "wing"}'


def test_a_jobs_document_is_rendered_inside(tmp_path):
    made = operator(tmp_path, job={"name": "{{ case }}", "jobanalyses": [{"command": "run a.json ${#x}"}]})
    made.resolve_template_files()
    assert rendered(made, case="wing").job == {
        "name": "wing",
        "jobanalyses": [{"command": "run a.json ${#x}"}],
    }


def test_protected_is_nothing_but_what_jinja_would_take():
    assert protected("${x} {# c #} {{ y }}") == "${x} {# c #} {{ y }}"
