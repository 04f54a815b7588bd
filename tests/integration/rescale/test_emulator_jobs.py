# SPDX-License-Identifier: Apache-2.0
"""Jobs of the emulator over real HTTP: from the saved draft to the deleted result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import pytest
import requests

from scale_airflow.rescale.emulator.process import EmulatorProcess

T = TypeVar("T")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root", gateway_timeout_every=0) as running:
        yield running


class Api:
    def __init__(self, emulator: EmulatorProcess, key: str) -> None:
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Token {key}"
        self._base = f"{emulator.base_url}/api/v2"

    def __call__(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        answer = self._session.request(method, self._base + path, **options)
        assert answer.status_code == status, answer.text
        kind = answer.headers.get("Content-Type", "")
        return answer.json() if kind.startswith("application/json") and answer.content else answer.content

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="module")
def api(emulator: EmulatorProcess) -> Iterator[Api]:
    made = Api(emulator, emulator.api_key)
    yield made
    made.close()


def job(command: str = "echo hello > out.txt", **changes: Any) -> dict[str, Any]:
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": command,
        "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
        **changes.pop("analysis", {}),
    }
    return {"name": "a job", "jobanalyses": [analysis], **changes}


def wait_for(look: Callable[[], T], seconds: float = 20.0) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.01)
    return found


def names(api: Api, job_id: str, which: str = "statuses") -> list[str]:
    return [one["status"] for one in api("GET", f"/jobs/{job_id}/{which}/?page_size=99")["results"]]


def ended(api: Api, emulator: EmulatorProcess, job_id: str) -> str:
    wait_for(lambda: not emulator.admin.job(job_id)["cluster_up"])
    newest = api("GET", f"/jobs/{job_id}/statuses/")["results"][0]
    assert newest["status"] == "Completed"
    return str(newest["statusReason"])


def submitted(api: Api, document: dict[str, Any]) -> str:
    job_id = str(api("POST", "/jobs/", 201, json=document)["id"])
    assert api("POST", f"/jobs/{job_id}/submit/") == b""
    return job_id


def test_the_whole_life_of_a_job(emulator: EmulatorProcess, api: Api) -> None:
    saved = api("POST", "/jobs/", 201, json=job())
    job_id = saved["id"]
    assert api("GET", f"/jobs/{job_id}") == saved
    assert api("GET", f"/jobs/{job_id}/statuses/")["results"] == []
    assert api("GET", f"/jobs/{job_id}/cluster_statuses/", 404) == {"detail": "Not found."}
    assert api("POST", f"/jobs/{job_id}/submit/") == b""
    assert ended(api, emulator, job_id) == "Completed successfully"
    statuses = api("GET", f"/jobs/{job_id}/statuses/")["results"]
    assert [one["status"] for one in statuses] == [
        *("Completed", "Executing", "Validated", "Started", "Queued", "Pending")
    ]
    # As the tutorial's code reads them: with Python 3.10 no Z is allowed here, and there is one there.
    assert sorted(statuses, key=lambda one: datetime.fromisoformat(one["statusDate"])) == statuses[::-1]
    clusters = api("GET", f"/jobs/{job_id}/cluster_statuses/")["results"]
    assert clusters[0]["status"] == "Stopped"
    assert all(one["statusDate"].endswith("Z") for one in clusters)
    assert clusters[0]["statusDate"] > statuses[0]["statusDate"][:-6]
    files = {one["relativePath"]: one for one in api("GET", f"/jobs/{job_id}/files/")["results"]}
    assert set(files) == {"out.txt", "process_output.log"}
    assert api("GET", f"/files/{files['out.txt']['id']}/contents/") == b"hello\n"
    assert files["out.txt"]["typeId"] == 5
    (run,) = api("GET", f"/jobs/{job_id}/runs/")["results"]
    assert (run["id"], run["outputFileCount"], run["type"]) == ("1", 2, 3)
    assert run["dateStarted"] < run["dateCompleted"]
    assert api("GET", f"/jobs/{job_id}/runs/1/files/?search=out.txt")["count"] == 1
    assert api("DELETE", f"/jobs/{job_id}/", 204) == b""
    assert api("GET", f"/jobs/{job_id}/", 404) == {"detail": "Not found."}
    assert api("GET", f"/files/{files['out.txt']['id']}/", 404) == {"detail": "Not found."}


def test_what_was_submitted_can_not_be_changed_or_run_again(emulator: EmulatorProcess, api: Api) -> None:
    draft = api("POST", "/jobs/", 201, json=job())["id"]
    answer = api("PATCH", f"/jobs/{draft}/", json={"name": "renamed", "isLowPriority": True})
    assert answer == {"id": draft, "isLowPriority": True, "name": "renamed", "projectId": None}
    api("POST", f"/jobs/{draft}/submit/")
    api("PATCH", f"/jobs/{draft}/", json={"name": "too late"})
    assert api("GET", f"/jobs/{draft}/")["name"] == "renamed"
    ended(api, emulator, draft)
    api("PUT", f"/jobs/{draft}/", json=job("exit 1"))
    api("POST", f"/jobs/{draft}/submit/")
    assert names(api, draft).count("Pending") == 1
    assert emulator.admin.job(draft)["paid_runs"] == 1
    assert emulator.admin.job(draft)["submissions"] == 2
    assert emulator.admin.counters()["submits"][draft] == 2


def test_no_delete_while_the_cluster_is_up(emulator: EmulatorProcess, api: Api) -> None:
    emulator.admin.settings(pace=1000)
    job_id = submitted(api, job())
    assert names(api, job_id) == ["Pending"]
    api("GET", f"/jobs/{job_id}/cluster_statuses/", 404)
    assert "cluster is running" in api("DELETE", f"/jobs/{job_id}/", 400)["detail"]
    emulator.admin.settings(pace=0.01)
    emulator.admin.advance(100_000)
    ended(api, emulator, job_id)
    api("DELETE", f"/jobs/{job_id}/", 204)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"name": ["This field is required."], "jobanalyses": ["This field is required."]}),
        (
            {"name": " ", "jobanalyses": []},
            {
                "name": ["This field may not be blank."],
                "jobanalyses": {"non_field_errors": ["This list may not be empty."]},
            },
        ),
        (
            job(analysis={"hardware": {"coreType": "granite", "coresPerSlot": 1}}),
            {
                "jobanalyses": [
                    {
                        "hardware": {
                            "coresPerSlot": [
                                "Granite has no slots with 1 cores; possible: 2, 4, 8, 16, 32, 48, 96."
                            ]
                        }
                    }
                ]
            },
        ),
        (
            job("", analysis={"inputFiles": [{"id": "nope"}, {}]}),
            {
                "jobanalyses": [
                    {
                        "command": ["This field may not be blank."],
                        "inputFiles": [
                            {"id": ['Invalid pk "nope" - object does not exist.']},
                            {"id": ["This field is required."]},
                        ],
                    }
                ]
            },
        ),
        (
            job(analysis={"analysis": {"code": "tensorflow", "version": "1"}}),
            {
                "jobanalyses": [
                    {
                        "analysis": {
                            "version": ['TensorFlow has no version "1"; its version codes are 2.4, 2.9.']
                        },
                        "hardware": {"coreType": ["Granite is not available for TensorFlow."]},
                    }
                ]
            },
        ),
        (
            job(analysis={"analysis": {"code": "abaqus"}}),
            {
                "jobanalyses": [
                    {"command": ['The command must contain "interactive", or the job would not end.']}
                ]
            },
        ),
        (
            job(analysis={"analysis": {"code": "nope"}, "hardware": {"coreType": "hpc", "coresPerSlot": 8}}),
            {
                "jobanalyses": [
                    {
                        "analysis": {"code": ['There is no analysis with the code "nope".']},
                        "hardware": {"coreType": ["HPC is deprecated and can't be used any more."]},
                    }
                ]
            },
        ),
        (
            job(isLowPriority="maybe", projectId="zz", monteCarloIterations="x"),
            {
                "isLowPriority": ["Must be a valid boolean."],
                "projectId": ['Invalid pk "zz" - object does not exist.'],
                "monteCarloIterations": ["A valid integer is required."],
            },
        ),
        (
            {"name": ["x"], "jobanalyses": [7]},
            {
                "name": ["Not a valid string."],
                "jobanalyses": [{"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]}],
            },
        ),
    ],
)
def test_faults_are_told_at_their_place(api: Api, body: dict[str, Any], errors: dict[str, Any]) -> None:
    assert api("POST", "/jobs/", 400, json=body) == errors


def test_unknown_keys_are_ignored_and_defaults_filled_in(api: Api) -> None:
    # The tutorial misspells projectId in five places.
    saved = api("POST", "/jobs/", 201, json=job("# ", project_id="nowhere", tags=["x", "y", "x"]))
    assert (saved["projectId"], saved["tags"], saved["isLowPriority"]) == (None, ["x", "y"], False)
    assert "project_id" not in saved
    (analysis,) = saved["jobanalyses"]
    assert analysis["hardware"]["slots"] == 1
    assert analysis["hardware"]["coreSummary"]["numberOfNodes"] == 1.0
    assert analysis["analysis"]["versionName"] == "CPU"


def test_the_services_known_defect(api: Api) -> None:
    answer = api("POST", "/jobs/", 500, json=job(jobAutomations=[{"name": "x"}]))
    assert b"<html>" in answer


def test_projects_can_be_required(emulator: EmulatorProcess, api: Api) -> None:
    emulator.admin.settings(project_required=True)
    try:
        assert api("POST", "/jobs/", 400, json=job()) == {"projectId": ["This field is required."]}
        assert api("POST", "/jobs/", 201, json=job(projectId="prA"))["projectId"] == "prA"
    finally:
        emulator.admin.settings(project_required=False)


def test_inputs_are_shown_whole_and_must_exist_when_submitted(api: Api) -> None:
    file = api("POST", "/files/contents/", 201, files={"file": ("in.txt", b"input")})
    saved = api("POST", "/jobs/", 201, json=job(analysis={"inputFiles": [{"id": file["id"]}]}))
    (shown,) = saved["jobanalyses"][0]["inputFiles"]
    assert shown == {**file, "decompress": True}
    api("DELETE", f"/files/{file['id']}/", 204)
    again = api("GET", f"/jobs/{saved['id']}/")["jobanalyses"][0]["inputFiles"]
    assert again[0]["isDeleted"] is True
    assert "in.txt" in api("POST", f"/jobs/{saved['id']}/submit/", 400)["detail"]
    assert names(api, saved["id"]) == []


def test_inputs_go_with_the_job_when_asked(api: Api) -> None:
    files = [api("POST", "/files/contents/", 201, files={"file": ("in", b"")})["id"] for _ in range(2)]
    for file_id, query, status in ((files[0], "", 200), (files[1], "?deleteInputFiles=True", 404)):
        saved = api("POST", "/jobs/", 201, json=job(analysis={"inputFiles": [{"id": file_id}]}))
        api("DELETE", f"/jobs/{saved['id']}/{query}", 204)
        api("GET", f"/files/{file_id}/", status)


def test_jobs_are_listed_by_state(emulator: EmulatorProcess, api: Api) -> None:
    done = submitted(api, job("exit 3", name="failing"))
    assert ended(api, emulator, done) == "A run failed"
    draft = api("POST", "/jobs/", 201, json=job())["id"]

    def found(query: str) -> list[str]:
        return [one["id"] for one in api("GET", f"/jobs/?page_size=999&{query}")["results"]]

    assert found("")[:2] == [draft, done]
    assert found("ordering=dateInserted")[-1] == draft
    assert done in found("state=completed&job_status=COMPLETED&t=active")
    assert draft not in found("state=completed")
    assert draft in found("state=not_completed")
    assert done not in found("job_status=WAITING_FOR_QUEUE")
    assert set(api("GET", "/jobs/?state=x&job_status=y", 400)) == {"state", "job_status"}
    (line,) = [one for one in api("GET", "/jobs/?page_size=999")["results"] if one["id"] == draft]
    assert line["jobStatus"] == {"content": "", "labelClass": "", "useLabel": False}
    (line,) = [one for one in api("GET", "/jobs/?page_size=999")["results"] if one["id"] == done]
    assert line["jobStatus"]["content"] == "Completed"
    assert line["clusterStatusDisplay"]["content"] == "Stopped"
    assert line["analysisNames"] == ["Bring Your Own Software"]
    assert "jobStatus" not in api("GET", f"/jobs/{done}/")


def test_a_running_job_can_be_looked_into_and_stopped(emulator: EmulatorProcess, api: Api) -> None:
    command = "mkdir d; echo one; echo two > 'd/ü 1.txt'; printf '\\0' > raw; touch ready; sleep 60"
    job_id = submitted(api, job(command))
    wait_for(lambda: "Executing" in names(api, job_id))
    run = f"/jobs/{job_id}/runs/1"

    def paths() -> dict[str, str]:
        return {one["path"]: one["resource"] for one in api("GET", f"{run}/directory-contents/?page_size=99")}

    wait_for(lambda: api("GET", f"/jobs/{job_id}/runs/")["count"] == 1)
    wait_for(lambda: requests_ok(api, f"{run}/directory-contents/") and "ready" in paths())
    assert paths()["d/ü 1.txt"] == f"/api{run}/tail/d/%C3%BC%201.txt"
    tail = api("GET", f"{run}/tail/process_output.log?lines=1")
    assert tail["fileType"] == f"/home/job_{job_id}/work/process_output.log: ASCII text"
    assert tail["lines"][0].rstrip().endswith("one")
    assert api("GET", f"{run}/tail/d/%C3%BC%201.txt") == b"two\n"
    raw = api("GET", f"{run}/tail/raw?lines=5")
    assert raw == {"fileType": f"/home/job_{job_id}/work/raw: data", "lines": []}
    for wrong in ("nothing", "../../../state/lock", "d"):
        api("GET", f"{run}/tail/{wrong}", 404)
    api("GET", f"{run}/tail/process_output.log?lines=-1", 400)
    assert api("GET", f"{run}/files/")["count"] == 0
    made = api("POST", f"{run}/snapshot/")
    assert made["exitcode"] == 0
    (snapshot,) = api("GET", f"/jobs/{job_id}/files/")["results"]
    assert (snapshot["typeId"], snapshot["id"]) == (12, made["lastSnapshotID"])
    (instance,) = api("GET", f"/jobs/{job_id}/instances/")["results"]
    assert (instance["role"], instance["publicIp"]) == ("MPI_MASTER", "127.0.0.1")
    assert api("GET", f"/jobs/{job_id}/connection_details/")["instances"] == [instance]
    assert len(api("GET", f"/jobs/{job_id}/cluster-load-measurements/?hours=3")["measurements"]) == 3
    # The tutorial sends a body that nobody wants.
    assert api("POST", f"/jobs/{job_id}/stop/", 202, json=job()) == b""
    assert ended(api, emulator, job_id) == "Stopped by user"
    assert "Stopping" in names(api, job_id)
    for path in ("stop/", "force_stop/", "runs/1/stop/", "runs/1/snapshot/"):
        api("POST", f"/jobs/{job_id}/{path}", 400)
    for path in ("directory-contents/", "tail/process_output.log"):
        api("GET", f"{run}/{path}", 404)
    assert api("GET", f"{run}/files/?search=process")["count"] == 1


def requests_ok(api: Api, path: str) -> bool:
    try:
        api("GET", path)
    except AssertionError:
        return False
    return True


def test_what_hangs_on_a_job(emulator: EmulatorProcess, api: Api) -> None:
    job_id = api("POST", "/jobs/", 201, json=job(tags=["a"]))["id"]
    other = Api(emulator, emulator.second_key)
    other("GET", f"/jobs/{job_id}/", 404)
    shared = api("POST", f"/jobs/{job_id}/share/", 201, json={"email": "demo2@example.com", "message": ""})
    assert shared["recipient"]["email"] == "demo2@example.com"
    assert other("GET", f"/jobs/{job_id}/")["owner"] == "demo@example.com"
    other.close()
    api("POST", f"/jobs/{job_id}/share/", 400, json={})
    api("POST", f"/jobs/{job_id}/tags/", 201, json={"name": "b"})
    api("POST", f"/jobs/{job_id}/tags/", 201, json={"name": "b"})
    api("DELETE", f"/jobs/{job_id}/tags/", 204, json={"name": "a"})
    assert api("GET", f"/jobs/{job_id}/tags/")["results"] == [{"name": "b"}]
    assert api("GET", f"/jobs/{job_id}/")["tags"] == ["b"]
    assert api("POST", f"/jobs/{job_id}/custom-fields/", json={"cost-center": "7"}) == {"cost-center": "7"}
    place = f"/organizations/demo-company/jobs/{job_id}/project-assignment/"
    api("POST", place, json={"projectId": "prB"})
    assert api("GET", f"/jobs/{job_id}/")["projectId"] == "prB"
    api("POST", place, 400, json={"projectId": "zz"})
    api("POST", place.replace("demo-company", "other"), 404, json={"projectId": "prB"})


def test_storage_devices(emulator: EmulatorProcess, api: Api) -> None:
    regions = api("GET", "/storage-devices/available-regions/")
    assert regions[0] == {"id": "pCTMk", "name": "us-east-1"}
    assert set(api("POST", "/storage-devices/", 400, json={})) == {"name", "storageSize", "hardware"}
    body = {
        "name": "scratch",
        "storageSize": 100,
        "hardware": {"walltime": 2, "coresPerSlot": 2, "coreType": "granite"},
        "region": {"id": "OLjea"},
    }
    device = api("POST", "/storage-devices/", 201, json=body)["id"]
    assert api("GET", f"/storage-devices/{device}")["region"]["name"] == "ap-northeast-2"
    job_id = api("POST", "/jobs/", 201, json=job())["id"]
    place = f"/jobs/{job_id}/storage-devices/"
    api("POST", place, 201, json={"storageDevice": {"id": device}})
    api("POST", place, 400, json={"storageDevice": {"id": "nope"}})
    assert api("GET", f"/jobs/{job_id}/")["storageDevices"] == [{"id": device}]
    api("POST", f"/storage-devices/{device}/shutdown/", 400)
    assert api("POST", f"/storage-devices/{device}/submit/") == b""
    api("POST", f"/storage-devices/{device}/submit/", 400)

    def newest() -> str:
        return str(api("GET", f"/storage-devices/{device}/statuses/")["results"][0]["status"])

    wait_for(lambda: newest() == "Started")
    api("POST", f"/storage-devices/{device}/shutdown/")
    wait_for(lambda: newest() == "Stopped")
    assert device in [one["id"] for one in api("GET", "/storage-devices/")["results"]]


def test_billing_follows_the_runs(emulator: EmulatorProcess, api: Api) -> None:
    job_id = submitted(api, job())
    ended(api, emulator, job_id)
    place = "/organizations/demo-company/workspaces/demo-workspace"
    charges = api("GET", f"{place}/billing/")["charges"]
    assert [one["cores"] for one in charges if one["jobId"] == job_id] == [2]
    api("GET", f"{place}/custom-fields/")
    api("GET", "/organizations/other/workspaces/demo-workspace/billing/", 404)


def test_parameter_studies_say_how_many_runs_they_have(api: Api) -> None:
    blank = {"name": "x", "variableType": "Param", "valueGeneratorType": "", "valueGeneratorSettings": {}}
    rows = api("POST", "/files/contents/", 201, files={"file": ("p.csv", b"x,y\n1,2\n3,4\n")})["id"]
    assert (
        api("POST", "/jobs/", 201, json=job(paramFile={"id": rows}, jobvariables=[blank]))["expectedRuns"]
        == 2
    )
    bad = api("POST", "/files/contents/", 201, files={"file": ("p.csv", b"x,y\n1\n")})["id"]
    assert "Line 2" in api("POST", "/jobs/", 400, json=job(paramFile={"id": bad}))["paramFile"][0]


def test_scenarios_and_jobs_come_from_the_admin_plane(emulator: EmulatorProcess, api: Api) -> None:
    emulator.admin.add_job(job("echo template"), "ObMcJc")
    assert api("GET", "/jobs/ObMcJc")["jobanalyses"][0]["command"] == "echo template"
    emulator.admin.next_scenario("allocation-failure")
    job_id = submitted(api, job())
    assert ended(api, emulator, job_id).startswith("Could not allocate")
    assert api("POST", "/jobs/", 201, json=job())["id"] not in ("", job_id)


def test_statuses_time_out_now_and_then(emulator: EmulatorProcess, api: Api) -> None:
    job_id = api("POST", "/jobs/", 201, json=job())["id"]
    emulator.admin.settings(gateway_timeout_every=2)
    try:
        found = [requests_ok(api, f"/jobs/{job_id}/statuses/") for _ in range(4)]
        assert sorted(found) == [False, False, True, True]
    finally:
        emulator.admin.settings(gateway_timeout_every=0)


def test_statuses_can_come_late(emulator: EmulatorProcess, api: Api) -> None:
    emulator.admin.settings(statuses_late=1000)
    try:
        job_id = submitted(api, job())
        wait_for(lambda: not emulator.admin.job(job_id)["cluster_up"])
        assert names(api, job_id) == []
    finally:
        emulator.admin.settings(statuses_late=0)
    assert names(api, job_id)[0] == "Completed"
