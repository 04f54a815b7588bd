# SPDX-License-Identifier: Apache-2.0
"""Bad input on the main path: a clear error in the right place, and the system goes on."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import requests

from demo import pipeline
from tests.e2e.system import Scale, eventually


def job_type(name: str, command: str, arguments: str, **fields: Any) -> dict[str, Any]:
    """Return a job type with one required output."""
    interface = {
        "version": "1.0",
        "command": command,
        "command_arguments": arguments,
        "input_data": [],
        "output_data": [{"name": "result", "type": "file", "required": True, "media_type": "text/plain"}],
    }
    return {
        "name": name,
        "version": "1.0",
        "title": name,
        "description": "",
        "category": "test",
        "docker_image": "busybox",
        "max_tries": 1,
        "cpus_required": 0.25,
        "mem_required": 128.0,
        "interface": interface,
        **fields,
    }


def test_a_broken_zip_fails_its_job_alone(scale: Scale) -> None:
    name = f"broken-{uuid.uuid4().hex[:8]}.zip"
    ingest = scale.drop(name, pipeline.scene_bytes(broken=True))
    assert ingest["status"] == "INGESTED"
    recipe = scale.finished_recipe(scale.recipe_of(ingest["source_file"]["id"])["id"])
    states = {entry["job_name"]: entry["job"]["status"] for entry in recipe["jobs"]}
    assert states.pop("unpack-scene") == "FAILED"
    assert set(states.values()) == {"BLOCKED"}
    failed = next(entry["job"] for entry in recipe["jobs"] if entry["job_name"] == "unpack-scene")
    job = scale.client.get(f"jobs/{failed['id']}/")
    assert (job["error"]["name"], job["error"]["category"]) == ("terrain-bad-archive", "DATA")
    # An error of the data is not tried again.
    assert job["num_exes"] == 1
    execution = scale.client.get(f"job-executions/{job['job_exes'][0]['id']}/")
    assert execution["job_exit_code"] == 2
    logs = scale.client.get(f"job-executions/{execution['id']}/logs/")
    assert "terrain-unpack-scene" in logs["stderr"]
    assert scale.client.everything("products/", job_type_name="unpack-scene", file_name=name) == []


def test_the_next_file_is_none_the_worse(scale: Scale) -> None:
    # Other bytes than the first scene, or it would be the same file.
    name = f"again-{uuid.uuid4().hex[:8]}.zip"
    ingest = scale.drop(name, pipeline.scene_bytes() + b"\0")
    recipe = scale.finished_recipe(scale.recipe_of(ingest["source_file"]["id"])["id"])
    assert {entry["job"]["status"] for entry in recipe["jobs"]} == {"COMPLETED"}


def test_a_file_that_no_rule_takes_is_deferred(scale: Scale) -> None:
    ingest = scale.drop("readme.txt", b"not a scene\n")
    assert ingest["status"] == "DEFERRED"
    assert scale.client.get("sources/", file_name="readme.txt")["count"] == 0
    # Deferred, not thrown away.
    left = [path.read_bytes() for path in scale.installation.incoming.rglob("*readme.txt*")]
    assert left == [b"not a scene\n"]


@pytest.mark.parametrize(
    ("case", "command", "arguments", "told"),
    [
        ("nothing-made", "true", "${job_output_dir}", "result"),
        ("odd-exit-code", "sh", '-c "echo going wrong >&2; exit 42" ${job_output_dir}', "42"),
        (
            "manifest-names-missing-file",
            "python3",
            "-c \"import sys, json; json.dump({'version': '1.1', 'output_data': [{'name': 'result', 'file': "
            "{'path': 'none.txt'}}]}, open(sys.argv[1] + '/results_manifest.json', 'w'))\" ${job_output_dir}",
            "none.txt",
        ),
        (
            "manifest-is-no-json",
            "sh",
            '-c "echo oops > $0/results_manifest.json" ${job_output_dir}',
            "results_manifest.json",
        ),
        ("no-such-program", "scale-has-no-such-program", "${job_output_dir}", "scale-has-no-such-program"),
    ],
)
def test_a_job_that_does_not_keep_its_promise_fails_with_the_reason(
    case: str, command: str, arguments: str, told: str, scale: Scale
) -> None:
    name = f"{case}-{uuid.uuid4().hex[:8]}"
    made = scale.client.post("job-types/", job_type(name, command, arguments))
    workspace = scale.workspace_id("products")
    data = {
        "version": "1.0",
        "input_data": [],
        "output_data": [{"name": "result", "workspace_id": workspace}],
    }
    queued = scale.client.post("queue/new-job/", {"job_type_id": made["id"], "job_data": data})
    job = scale.finished_job(queued["id"])
    assert job["status"] == "FAILED"
    assert job["error"]["category"] == "SYSTEM"
    assert job["num_exes"] == 1
    log = airflow_log(scale, name, job)
    assert told in log
    assert scale.client.get("products/", job_type_name=name)["count"] == 0


def airflow_log(scale: Scale, name: str, job: dict[str, Any]) -> str:
    """Return the log of a job's task in Airflow, and what the API shows of its output."""
    from scale_airflow.compiler.names import job_dag_id, job_run_id

    dag_id, run_id = job_dag_id(name, "1.0", 1), job_run_id(job["id"])

    def ended() -> Any:
        tasks = scale.client.airflow("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        states = [(task["task_id"], task["state"]) for task in tasks["task_instances"]]
        return states if all(state == "failed" for _, state in states) else None

    # A failed job must not look like anything else in Airflow.
    ((task_id, _),) = eventually(ended, "failed task in Airflow", 60)
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
    logs = scale.client.get(f"job-executions/{job['job_exes'][0]['id']}/logs/")
    return json.dumps(scale.client.airflow("GET", path)) + str(logs["stdout"]) + str(logs["stderr"])


def test_a_wrong_configuration_changes_nothing(scale: Scale) -> None:
    before = scale.client.get("configuration/")
    wrong = json.loads(pipeline.CONFIGURATION.read_text())
    wrong["errors"].append({"name": "new-error", "title": "New", "description": "", "category": "ALGORITHM"})
    wrong["job_types"][0]["interface"]["command_arguments"] = "${scnee} ${job_output_dir}"
    wrong["recipe_types"][0]["definition"]["jobs"][1]["dependencies"][0]["name"] = "unpack"
    with pytest.raises(requests.HTTPError) as refused:
        scale.client.post("configuration/", {"import": wrong})
    answer = refused.value.response
    assert answer.status_code == 400
    faults = answer.json()["errors"]
    assert len(faults) >= 2
    assert any('Did you mean "scene"?' in fault["message"] for fault in faults)
    assert any(fault["path"].endswith("/dependencies/0/name") for fault in faults)
    assert scale.client.get("configuration/") == before


def test_nothing_is_open_without_a_login(scale: Scale) -> None:
    for path in ("errors/", "jobs/", "products/", "configuration/", "status/"):
        answer = requests.get(f"{scale.installation.url}/scale/api/{path}", timeout=30)
        assert answer.status_code == 401, path
