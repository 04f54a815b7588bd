# SPDX-License-Identifier: Apache-2.0
"""Jobs on Rescale: copy this file and rescale_estimate_pi.py into your own DAGs folder.

They need the connection ``rescale_default``; ``rescale_cluster`` needs an SSH key in it as well.
docs/how-to/rescale.md explains each part.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, chain, task

from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.operators.rescale_cluster import rescale_cluster
from scale_airflow.operators.rescale_files import RescaleDownloadFilesOperator, RescaleUploadFilesOperator
from scale_airflow.operators.rescale_jobs import RescaleDeleteJobOperator
from scale_airflow.sensors.rescale import RescaleJobSensor

PROGRAM = str(Path(__file__).with_name("rescale_estimate_pi.py"))
# A try after a crash goes on with the job that is there and costs nothing.
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=10)}
RESULTS = Param("rescale-results", type="string", description="folder of the worker for the results")

# [START rescale_job]
with DAG("rescale_job", schedule=None, params={"results": RESULTS}, default_args=RETRIES):
    RescaleSubmitJobOperator(
        task_id="estimate_pi",
        name="Estimate pi",
        command="python3 rescale_estimate_pi.py --samples 200000",
        inputs=[PROGRAM],
        analysis="user_included:0",
        core_type="cheapest",
        cores_per_slot=2,
        walltime=1,
        max_cost=2.50,
        download_to="{{ params.results }}/{{ run_id }}",
        deferrable=True,
        polling_interval=5,
    )
# [END rescale_job]

# [START rescale_function]
with DAG("rescale_function", schedule=None, default_args=RETRIES):

    @task.rescale(core_type="cheapest", cores_per_slot=2, walltime=1, max_cost=2.50, deferrable=True)
    def estimate_pi(terms: int) -> float:
        """Run on Rescale: import here what is needed there."""
        from math import fsum

        return 4 * fsum((-1) ** k / (2 * k + 1) for k in range(terms))

    estimate_pi(100_000)
# [END rescale_function]

# [START rescale_study]
with DAG("rescale_study", schedule=None, params={"results": RESULTS}, default_args=RETRIES):
    estimates = RescaleSubmitJobOperator.partial(
        task_id="estimate_pi",
        name="Estimate pi with seed {{ task.env_vars.SEED }}",
        command="python3 rescale_estimate_pi.py --samples 50000 --seed ${SEED}",
        inputs=[PROGRAM],
        analysis="user_included:0",
        core_type="cheapest",
        cores_per_slot=2,
        walltime=1,
        max_cost=2.50,
        download_to="{{ params.results }}/{{ run_id }}",
        output_filters=["estimate-*.json"],
        max_active_tis_per_dagrun=16,
        polling_interval=5,
    ).expand(env_vars=[{"SEED": "1"}, {"SEED": "2"}, {"SEED": "3"}])

    @task
    def average(jobs: list[dict]) -> float:
        """Return the mean of all estimates."""
        found = [json.loads(Path(path).read_text()) for job in jobs for path in job["downloaded"]]
        return 4 * sum(each["hits"] for each in found) / sum(each["samples"] for each in found)

    average(estimates.output)
# [END rescale_study]

# [START rescale_steps]
with DAG("rescale_steps", schedule=None, params={"results": RESULTS}, default_args=RETRIES):
    upload = RescaleUploadFilesOperator(task_id="upload", paths=[PROGRAM])
    start = RescaleSubmitJobOperator(
        task_id="start",
        command="python3 rescale_estimate_pi.py --samples 1000",
        inputs=upload.output,
        analysis="user_included:0",
        core_type="cheapest",
        cores_per_slot=2,
        walltime=1,
        wait_for_termination=False,
    )
    job_id = start.output["job_id"]
    wait = RescaleJobSensor(task_id="wait", job_id=job_id, deferrable=True, poke_interval=5)
    download = RescaleDownloadFilesOperator(
        task_id="download",
        job_id=job_id,
        directory="{{ params.results }}/{{ run_id }}",
        filters=["*.json", "!tmp/*"],
    )
    delete = RescaleDeleteJobOperator(task_id="delete", job_id=job_id, deferrable=True, polling_interval=5)
    chain(start, wait, download, delete)
# [END rescale_steps]

# [START rescale_cluster]
with (
    DAG("rescale_cluster", schedule=None, params={"results": RESULTS}, default_args=RETRIES),
    rescale_cluster(
        "solver", core_type="cheapest", cores=2, walltime=2, deferrable=True, polling_interval=5
    ) as cluster,
):
    few = cluster.command(
        "few", "python3 rescale_estimate_pi.py --samples 1000 --seed 1", upload={PROGRAM: "."}
    )
    many = cluster.command(
        "many",
        "python3 rescale_estimate_pi.py --samples ${SAMPLES} --seed 2",
        environment={"SAMPLES": "50000"},
        download={"estimate-2.json": "{{ params.results }}/{{ run_id }}"},
    )
    few >> many
# [END rescale_cluster]
