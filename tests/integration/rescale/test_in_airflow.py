# SPDX-License-Identifier: Apache-2.0
"""The operator and @task.rescale in Airflow's own task runner: templates, state store, XComs, mapping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.rescale.emulator.process import EmulatorProcess

DAG_FILE = """
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.sdk import DAG, task

from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.rescale.submission import Patience
from scale_airflow.triggers import settling

settling.LONG_SETTLING_PAUSE = 0.0
HERE = Path(__file__).parent
SMALL = {
    "analysis": "user_included",
    "core_type": "granite",
    "cores_per_slot": 2,
    "walltime": 1,
    "polling_interval": 0.1,
}


class Troubled(RescaleSubmitJobOperator):
    patience = Patience(grace=0.2, settling=0.1)

    def _wait(self, context, *arguments):
        if context["ti"].try_number == 1:
            raise OSError("the disk is full")
        super()._wait(context, *arguments)


with DAG(
    "wings",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    params={"day": "Monday"},
    template_searchpath=str(HERE),
) as dag:
    one = RescaleSubmitJobOperator(
        task_id="one",
        job="job.json",
        command=\'x=(a b c); echo "${#x[@]} ${DAY} {{ params.day }} ${x[1]}" > out.txt; cp out.txt a.json\',
        download_to=str(HERE / "one"),
        **SMALL,
    )

    @task.rescale(deferrable=True, **SMALL)
    def cube(number):
        print("on the cluster")
        return {"number": number, "cube": number**3}

    cubes = cube.expand(number=[2, 3])
    many = RescaleSubmitJobOperator.partial(task_id="many", **SMALL).expand(
        command=["echo ${HOME#/} > a.txt", "true"]
    )
    troubled = Troubled(
        task_id="troubled",
        command="sleep 0.5; echo hello > out.txt",
        retries=1,
        retry_delay=timedelta(0),
        deferrable=False,
        **SMALL,
    )
    bad = RescaleSubmitJobOperator(task_id="bad", command="exit 3", deferrable=True, **SMALL)

    @task(trigger_rule="all_done")
    def told(rows, ti=None):
        import json

        values = {
            "cubes": list(rows),
            "one": ti.xcom_pull("one"),
            "job_id": ti.xcom_pull("one", key="job_id"),
            "link": ti.xcom_pull("one", key="_link_RescaleJobLink"),
            "many": list(ti.xcom_pull("many", map_indexes=[0, 1])),
            "troubled": ti.xcom_pull("troubled"),
            "bad": ti.xcom_pull("bad"),
            "bad_link": ti.xcom_pull("bad", key="_link_RescaleJobLink"),
        }
        (HERE / "told.json").write_text(json.dumps(values, default=str))

    [one, many, troubled, bad] >> told(cubes)
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root") as running:
        yield running


def run_dag(emulator: EmulatorProcess, folder: Path) -> tuple[dict[str, Any], str]:
    """Run the DAG by ``airflow dags test``; give what its last task wrote, and all logs."""
    bundle = {
        "name": "local",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    connection = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.api_key}
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "wings"],
        env={
            **os.environ,
            "AIRFLOW_CONN_RESCALE_DEFAULT": json.dumps(connection),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    written = folder / "told.json"
    assert written.exists(), done.stdout[-6000:]
    return json.loads(written.read_text()), done.stdout


def test_a_dag_of_rescale_tasks(emulator: EmulatorProcess, database: str, tmp_path: Path) -> None:
    (tmp_path / "wings.py").write_text(DAG_FILE)
    (tmp_path / "job.json").write_text(
        '{"name": "Of {{ dag.dag_id }}", "jobanalyses": [{"envVars": {"DAY": "{{ params.day }}"}}]}'
    )
    told, log = run_dag(emulator, tmp_path)
    jobs = {one["id"]: one for one in emulator.admin.jobs()}

    # What is the shell's stays the shell's; what is Jinja's is rendered; a command is no file's name.
    assert (tmp_path / "one" / "out.txt").read_text() == "3 Monday Monday b\n"
    assert told["one"]["job_id"] == told["job_id"]
    assert told["one"]["job_url"] == told["link"]
    assert jobs[told["job_id"]]["document"]["name"].startswith("Of wings [airflow-")

    assert sorted(row["cube"] for row in told["cubes"]) == [8, 27]
    # Functions and mapped tasks are a job each; the second try of a troubled task goes on with its job.
    names = [one["document"]["name"].partition(" [")[0] for one in jobs.values()]
    assert {name: names.count(name) for name in names} == {
        "Of wings": 1,
        "wings.cube": 2,
        "wings.many": 2,
        "wings.troubled": 1,
        "wings.bad": 1,
    }
    assert len({row["job_id"] for row in told["many"]}) == 2
    assert told["troubled"]["files"]
    assert told["bad"] is None
    assert told["bad_link"]
    assert all(times == 1 for times in emulator.admin.counters()["paid_runs"].values())
    assert emulator.api_key not in log
