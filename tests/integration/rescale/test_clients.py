# SPDX-License-Identifier: Apache-2.0
"""Both clients against the emulator: every endpoint, with the quirks that the real service has."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from unit.rescale.faces import QUICK, Face, face

from scale_airflow.errors import (
    RescaleCostRefused,
    RescaleNotFound,
    RescaleRefused,
    RescaleUnauthorized,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale import RescaleClient, conversations, endpoints, load_credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.models import Job, RemoteFile, by_date
from scale_airflow.rescale.stopping import StopMode, stop

T = TypeVar("T")
# Runs until it is stopped, and has something to look at meanwhile.
LIVE = "echo first line; mkdir -p sub; echo x > sub/live.txt; sleep 60 & wait"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("rescale") / "root") as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def client(emulator: EmulatorProcess, request: pytest.FixtureRequest) -> Iterator[Face]:
    made = face(request.param, emulator.base_url, emulator.api_key)
    yield made
    made.close()
    emulator.admin.clear_faults()


def job(command: str = "echo hello > out.txt", **hardware: Any) -> dict[str, Any]:
    return {
        "name": "a job",
        "jobanalyses": [
            {
                "analysis": {"code": "user_included", "version": "0"},
                "command": command,
                "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1, **hardware},
            }
        ],
    }


def wait_for(look: Callable[[], T], seconds: float = 30.0) -> T:
    give_up = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < give_up, "It did not happen in time."
        time.sleep(0.02)
    return found


def newest(client: Face, job_id: str) -> str:
    rows = by_date(client.all(endpoints.list_statuses(job_id)))
    return rows[0].status if rows else ""


def upload(emulator: EmulatorProcess, name: str, content: bytes) -> RemoteFile:
    answer = requests.post(
        f"{emulator.base_url}/api/v2/files/contents/",
        headers={"Authorization": f"Token {emulator.api_key}"},
        files={"file": (name, content)},
        timeout=20,
    )
    return RemoteFile.from_document(answer.json())


def test_account_and_catalog(client: Face) -> None:
    assert client.send(endpoints.get_me()).email == "demo@example.com"
    assert len(client.all(endpoints.list_projects())) == 12
    core_types = {row.code: row for row in client.all(endpoints.list_core_types())}
    assert core_types["granite"].cores[0] == 2
    assert core_types["granite"].price is not None
    assert {row.core_type for row in client.all(endpoints.list_prices())} >= set(core_types)
    analyses = {row.code: row for row in client.all(endpoints.list_analyses())}
    assert analyses["user_included"].versions[0].code == "0"
    assert client.send(endpoints.get_billing("demo-company", "demo-workspace")) is not None
    assert client.send(endpoints.get_workspace_custom_fields("demo-company", "demo-workspace")) is not None


def test_a_job_from_draft_to_deletion(client: Face, emulator: EmulatorProcess) -> None:
    draft: Job = client.run(conversations.create(job(LIVE)))
    assert client.all(endpoints.list_statuses(draft.id)) == []
    assert client.all(endpoints.list_cluster_statuses(draft.id)) == []
    _hang_things_on(client, draft.id)
    assert client.run(conversations.change_job(draft.id, {"name": "renamed"})).name == "renamed"
    client.send(endpoints.submit_job(draft.id))
    wait_for(lambda: newest(client, draft.id) == "Executing")
    _look_while_it_runs(client, draft.id)
    with pytest.raises(RescaleRefused, match="not made it"):
        client.run(conversations.change_job(draft.id, {"name": "too late"}))
    with pytest.raises(RescaleRefused, match="only once its cluster has stopped"):
        client.send(endpoints.delete_job(draft.id))
    assert client.run(stop(draft.id)) == "stopped"
    wait_for(lambda: newest(client, draft.id) == "Completed")
    client.run(stop(draft.id, StopMode.FORCE))
    files = client.all(endpoints.list_job_files(draft.id, search="live"))
    assert [row.relative_path for row in files] == ["sub/live.txt"]
    assert client.all(endpoints.list_run_files(draft.id, "1"))
    assert any(row.type_id == 12 for row in client.all(endpoints.list_job_files(draft.id)))
    again: Job = client.run(conversations.create_like(draft.id, {"name": "again"}))
    assert (again.name, again.analyses[0].command) == ("again", LIVE)
    wait_for(lambda: not emulator.admin.job(draft.id)["cluster_up"])
    for each in (draft.id, again.id):
        client.send(endpoints.delete_job(each))
        with pytest.raises(RescaleNotFound, match=each):
            client.send(endpoints.get_job(each))


def _hang_things_on(client: Face, job_id: str) -> None:
    client.run(conversations.add_tags(job_id, ["one", "two"]))
    client.run(conversations.delete_tags(job_id, ["one"]))
    assert client.all(endpoints.list_tags(job_id)) == ["two"]
    client.send(endpoints.set_custom_fields(job_id, {}))
    client.send(endpoints.share_job(job_id, "a@example.com", "look"))
    project = client.all(endpoints.list_projects())[0]
    client.send(endpoints.assign_project("demo-company", job_id, project.id))
    assert client.send(endpoints.get_job(job_id)).project_id == project.id
    assert job_id in [row.id for row in client.all(endpoints.list_jobs(state="not_completed"))]


def _look_while_it_runs(client: Face, job_id: str) -> None:
    (run,) = wait_for(lambda: client.all(endpoints.list_runs(job_id)))
    assert client.send(endpoints.get_run(job_id, run.id)).is_active
    entries = wait_for(lambda: client.all(endpoints.list_directory(job_id, run.id)))
    wait_for(
        lambda: (
            {"process_output.log", "sub/live.txt"}
            <= {row.path for row in client.all(endpoints.list_directory(job_id, run.id))}
        )
    )
    assert entries
    lines = wait_for(lambda: client.send(endpoints.tail(job_id, run.id, "process_output.log", lines=5)).lines)
    assert any("first line" in line for line in lines)
    assert client.send(endpoints.tail_bytes(job_id, run.id, "sub/live.txt")) == b"x\n"
    assert client.send(endpoints.snapshot_run(job_id, run.id)).exit_code == 0
    assert client.all(endpoints.list_cluster_statuses(job_id))
    (machine,) = client.all(endpoints.list_instances(job_id))
    assert machine.role == "MPI_MASTER"
    assert client.send(endpoints.get_connection_details(job_id)) is not None
    client.send(endpoints.get_load_measurements(job_id, hours=1))


def test_one_run_is_stopped(client: Face) -> None:
    draft: Job = client.run(conversations.create(job(LIVE)))
    client.send(endpoints.submit_job(draft.id))
    (run,) = wait_for(lambda: [row for row in client.all(endpoints.list_runs(draft.id)) if row.is_active])
    client.send(endpoints.stop_run(draft.id, run.id))
    wait_for(lambda: newest(client, draft.id) == "Completed")
    assert client.send(endpoints.get_run(draft.id, run.id)).completed is not None


def test_files(client: Face, emulator: EmulatorProcess) -> None:
    uploaded = upload(emulator, "lines.txt", b"one\ntwo\n")
    assert uploaded.sha512 is not None
    assert client.all(endpoints.list_files(search="lines.txt"))[0].id == uploaded.id
    assert client.send(endpoints.get_file(uploaded.id)).size == 8
    assert client.send(endpoints.get_file_lines(uploaded.id)) == ("one\n", "two\n")
    assert client.send(endpoints.get_file_contents(uploaded.id)) == b"one\ntwo\n"
    assert client.send(endpoints.get_file_contents(uploaded.id, first=4, last=99)) == b"two\n"
    client.send(endpoints.update_file(uploaded.id, {"name": "renamed.txt"}))
    assert client.send(endpoints.get_file(uploaded.id)).name == "renamed.txt"
    client.send(endpoints.delete_file(uploaded.id))


def test_a_deleted_input_file_is_named(client: Face, emulator: EmulatorProcess) -> None:
    uploaded = upload(emulator, "in.txt", b"x")
    body = job()
    body["jobanalyses"][0]["inputFiles"] = [{"id": uploaded.id}]
    draft: Job = client.run(conversations.create(body))
    client.send(endpoints.delete_file(uploaded.id))
    with pytest.raises(RescaleRefused, match="input files still exist"):
        client.send(endpoints.submit_job(draft.id))
    with pytest.raises(RescaleRefused) as caught:
        client.run(conversations.create(body))
    assert "inputFiles" in caught.value.faults[0].path
    assert "send it again" in caught.value.faults[0].message
    assert client.all(endpoints.list_statuses(draft.id)) == []


def test_storage_devices(client: Face) -> None:
    region = client.all(endpoints.list_regions())[0]
    body = {
        "name": "disk",
        "storageSize": 10,
        "hardware": {"walltime": 1, "coresPerSlot": 2, "coreType": "granite"},
        "region": {"id": region.id},
    }
    device = client.send(endpoints.create_storage_device(body))
    assert device.id in [row.id for row in client.all(endpoints.list_storage_devices())]
    assert client.send(endpoints.get_storage_device(device.id)).name == "disk"
    client.send(endpoints.submit_storage_device(device.id))
    draft: Job = client.run(conversations.create(job()))
    wait_for(
        lambda: (
            "Started" in [row.status for row in client.all(endpoints.list_storage_device_statuses(device.id))]
        )
    )
    client.send(endpoints.attach_storage_device(draft.id, device.id))
    client.send(endpoints.shutdown_storage_device(device.id))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"coresPerSlot": 1}, "granite has slots of 2, 4, 8"),
        ({"coreType": "granit"}, "nearest core types are granite"),
    ],
)
def test_hardware_that_there_is_not(client: Face, change: dict[str, Any], what: str) -> None:
    with pytest.raises(RescaleRefused, match=what) as caught:
        client.run(conversations.create(job(**change)))
    assert caught.value.faults[0].path.startswith("/jobanalyses/0/hardware/")


def test_software_and_projects_that_there_are_not(client: Face) -> None:
    for software, what in (
        ({"code": "user_include", "version": "0"}, "nearest analyses are user_included"),
        ({"code": "openfoam", "version": "2.3"}, "2.3.0-openmpi"),
    ):
        body = job()
        body["jobanalyses"][0]["analysis"] = software
        with pytest.raises(RescaleRefused, match=what):
            client.run(conversations.create(body))
    with pytest.raises(RescaleRefused, match=r"Your projects: prA \(Terrain\)"):
        client.run(conversations.create({**job(), "projectId": "nowhere"}))


def test_prices(client: Face) -> None:
    found = client.run(conversations.priced({**job(coresPerSlot=4), "isLowPriority": False}, max_cost=1))
    assert str(found.estimate.total) == "0.16"
    with pytest.raises(RescaleCostRefused, match=r"could cost 0\.16"):
        client.run(conversations.priced(job(coresPerSlot=4), max_cost="0.15"))
    chosen = client.run(conversations.priced(job(coreType="cheapest", category="gpu"), max_cost=10))
    assert chosen.body["jobanalyses"][0]["hardware"]["coreType"] == "jasper"
    client.run(conversations.create(chosen.body))


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("expired_key", "has expired: make a new one"),
        ("inactive_key", "deactivated"),
        ("other_region_key", "valid in one region only"),
    ],
)
def test_keys_that_are_refused(emulator: EmulatorProcess, key: str, remedy: str) -> None:
    client = face("sync", emulator.base_url, getattr(emulator, key))
    with pytest.raises(RescaleUnauthorized, match=remedy):
        client.send(endpoints.get_me())
    client.close()


def test_answers_that_are_lost(client: Face, emulator: EmulatorProcess) -> None:
    before = len(emulator.admin.jobs())
    emulator.admin.add_fault("lost", method="POST", path="/jobs/$")
    with pytest.raises(RescaleUncertain):
        client.send(endpoints.create_job(job()))
    assert len(emulator.admin.jobs()) == before + 1
    emulator.admin.add_fault("garbage", method="POST", path="/jobs/$", effect=True)
    with pytest.raises(RescaleUncertain):
        client.send(endpoints.create_job(job()))
    assert len(emulator.admin.jobs()) == before + 2


def test_faults_that_pass(client: Face, emulator: EmulatorProcess) -> None:
    for kind, options in (
        ("status", {"status": 429, "retry_after": "seconds", "seconds": 0}),
        ("status", {"status": 503, "retry_after": "date", "seconds": 0}),
        ("status", {"status": 502}),
        ("cut", {}),
        ("truncate", {"after_bytes": 5}),
        ("reset", {"after_bytes": 5}),
        ("garbage", {}),
    ):
        emulator.admin.add_fault(kind, method="GET", path="/users/me/", **options)
        assert client.send(endpoints.get_me()).email
    assert all(rule["fired"] == 1 for rule in emulator.admin.faults())


def test_a_server_that_went_away(tmp_path: Path) -> None:
    with EmulatorProcess(tmp_path / "root") as emulator:
        client = face("sync", emulator.base_url, emulator.api_key, policy=QUICK)
        client.send(endpoints.get_me())
        emulator.kill()
        with pytest.raises(RescaleUnreachable):
            client.send(endpoints.get_me())
        emulator.restart()
        assert client.send(endpoints.get_me()).email
        client.close()


def test_a_project_that_is_missing(client: Face, emulator: EmulatorProcess) -> None:
    emulator.admin.settings(project_required=True)
    try:
        with pytest.raises(
            RescaleRefused, match=r"/projectId: .*Your projects: prA \(Terrain\), prB"
        ) as caught:
            client.run(conversations.create(job()))
        assert caught.value.faults[0].path == "/projectId"
        assert client.run(conversations.create({**job(), "projectId": "prB"})).project_id == "prB"
    finally:
        emulator.admin.settings(project_required=False)


ASK = """
from scale_airflow.rescale import RescaleClient, endpoints, load_credentials
credentials = load_credentials()
credentials.write_profile("key-of-the-job")
with RescaleClient(credentials) as client:
    print("I am", client.send(endpoints.get_me()).email)
"""


def test_the_same_code_inside_a_job(emulator: EmulatorProcess, tmp_path: Path) -> None:
    client = face("sync", emulator.base_url, emulator.api_key)
    script = upload(emulator, "ask.py", ASK.encode())
    body = job(f"{sys.executable} ask.py")
    body["jobanalyses"][0]["inputFiles"] = [{"id": script.id}]
    draft: Job = client.run(conversations.create(body))
    client.send(endpoints.submit_job(draft.id))
    wait_for(lambda: newest(client, draft.id) == "Completed")
    files = {row.name: row for row in client.all(endpoints.list_job_files(draft.id))}
    assert any(
        "I am demo@example.com" in line
        for line in client.send(endpoints.get_file_lines(files["process_output.log"].id))
    )
    lines = client.send(endpoints.get_file_lines(files["key-of-the-job"].id))
    assert [line.partition(" ")[0] for line in lines] == ["[default]\n", "apibaseurl", "apikey"]
    (tmp_path / "apiconfig").write_text("".join(lines))
    with RescaleClient(load_credentials("default", tmp_path / "apiconfig")) as of_the_job:
        assert of_the_job.base_url == emulator.base_url
        # The key of a job is good for as long as the job.
        with pytest.raises(RescaleUnauthorized, match="has expired"):
            of_the_job.send(endpoints.get_me())
    client.close()
