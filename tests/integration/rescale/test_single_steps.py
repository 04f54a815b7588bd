# SPDX-License-Identifier: Apache-2.0
"""Operators and sensors for single steps, against the emulator: waiting here, and in a triggerer's stead."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import psutil
import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    TaskDeferred,
)

from scale_airflow.errors import InvalidRequest, NotFound, RescaleError, RescaleRefused
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.hooks.rescale_cluster import RescaleClusterHook
from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.operators.rescale_cluster import (
    RescaleClusterCommandOperator,
    RescaleStartClusterOperator,
    RescaleStopClusterOperator,
)
from scale_airflow.operators.rescale_files import RescaleDownloadFilesOperator, RescaleUploadFilesOperator
from scale_airflow.operators.rescale_jobs import (
    RescaleCreateJobOperator,
    RescaleDeleteJobOperator,
    RescaleSnapshotOperator,
    RescaleStopJobOperator,
)
from scale_airflow.operators.rescale_storage import (
    RescaleCreateStorageDeviceOperator,
    RescaleShutdownStorageDeviceOperator,
)
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.waits import Goal, Rhythm, wait_for
from scale_airflow.sensors.rescale import RescaleJobSensor, RescaleStorageDeviceSensor
from scale_airflow.triggers import settling
from scale_airflow.triggers.rescale_command import RescaleCommandTrigger
from scale_airflow.triggers.rescale_waits import RescaleWaitTrigger

QUICK: dict[str, Any] = {"polling_interval": 0.05}
BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["here", "deferred"])


class StateStore(dict[str, Any]):
    """Airflow's task state store, as far as it is used."""

    def set(self, key: str, value: Any, retention: Any = None) -> None:
        self[key] = value


def context(task_id: str = "task", try_number: int = 1, store: StateStore | None = None) -> Any:
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="dag",
        run_id="run",
        task_id=task_id,
        map_index=-1,
        try_number=try_number,
        max_tries=3,
        task=SimpleNamespace(retries=3),
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {"ti": ti, "task_state_store": StateStore() if store is None else store, "pushed": pushed}


def run(operator: Any, told: Any = None) -> Any:
    """Execute; where the operator defers, run the trigger as the triggerer does, and go on with its event."""
    told = told or context(operator.task_id)
    method, arguments = "execute", {}
    while True:
        try:
            return getattr(operator, method)(told, **arguments)
        except TaskDeferred as deferred:
            kind, keywords = deferred.trigger.serialize()
            event = asyncio.run(first_event(kind, json.loads(json.dumps(keywords))))
            method, arguments = deferred.method_name, {**(deferred.kwargs or {}), "event": event}


async def first_event(kind: str, keywords: dict[str, Any]) -> Any:
    module, _, name = kind.rpartition(".")
    trigger = getattr(__import__(module, fromlist=[name]), name)(**keywords)
    stream = trigger.run()
    try:
        return (await asyncio.wait_for(anext(stream), 30)).payload
    finally:
        await stream.aclose()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "key"))
    (folder / "authorized_keys").write_bytes(key.export_public_key())
    return folder


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[EmulatorProcess]:
    root = tmp_path_factory.mktemp("emulator") / "root"
    with EmulatorProcess(root, pace=0.005, authorized_keys=keys / "authorized_keys") as running:
        yield running


@pytest.fixture(autouse=True)
def connection(emulator: EmulatorProcess, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "rescale",
        "host": emulator.base_url,
        "password": emulator.api_key,
        "extra": {"ssh_key_file": str(keys / "key")},
    }
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(settling, "LONG_SETTLING_PAUSE", 0.0)


def body(command: str, name: str = "job") -> dict[str, Any]:
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": command,
        "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
    }
    return {"name": name, "jobanalyses": [analysis]}


def started(command: str, *, until: Goal | None = Goal.CLUSTER_READY) -> str:
    """Start a job; return its id when it executes."""
    hook = RescaleHook()
    with hook.client as client:
        job_id = hook.create_job(body(command)).id
        hook.submit_job(job_id)
        if until is not None:
            client.run(wait_for(until, job_id, Rhythm(0.05)))
    return job_id


def test_a_job_is_saved_once(emulator: EmulatorProcess) -> None:
    operator = RescaleCreateJobOperator(task_id="create", job=json.dumps(body("true")))
    first = run(operator)
    assert run(operator, context("create", try_number=2)) == first
    assert emulator.admin.job(first)["submissions"] == 0
    emulator.admin.add_fault("lost", method="POST", path="/jobs/$", times=1)
    lost = RescaleCreateJobOperator(task_id="lost", job=body("true"))
    assert {first, run(lost)} == {job["id"] for job in emulator.admin.jobs()}
    wrong = body("true")
    wrong["jobanalyses"][0]["hardware"]["coreType"] = "granit"
    with pytest.raises(RescaleRefused, match="granite"):
        run(RescaleCreateJobOperator(task_id="wrong", job=wrong))


@BOTH
def test_a_job_is_stopped_and_deleted(emulator: EmulatorProcess, deferrable: bool) -> None:
    job_id = started("sleep 600")
    stop = RescaleStopJobOperator(task_id="stop", job_id=job_id, deferrable=deferrable, **QUICK)
    assert run(stop) == job_id
    assert not emulator.admin.job(job_id)["cluster_up"]
    assert run(stop) == job_id
    delete = RescaleDeleteJobOperator(task_id="delete", job_id=job_id, deferrable=deferrable, **QUICK)
    run(delete)
    assert job_id not in {job["id"] for job in emulator.admin.jobs()}
    run(delete)


@BOTH
def test_a_job_that_runs_is_deleted_when_it_has_ended(emulator: EmulatorProcess, deferrable: bool) -> None:
    job_id = started("sleep 0.3", until=None)
    run(RescaleDeleteJobOperator(task_id="delete", job_id=job_id, deferrable=deferrable, **QUICK))
    assert job_id not in {job["id"] for job in emulator.admin.jobs()}


def test_waiting_has_an_end() -> None:
    job_id = started("sleep 600")
    late = RescaleDeleteJobOperator(task_id="delete", job_id=job_id, timeout=0.2, **QUICK)
    with pytest.raises(AirflowException, match="is still Started"):
        run(late)
    run(RescaleStopJobOperator(task_id="stop", job_id=job_id, wait_for_termination=False))


@BOTH
def test_a_sensor_tells_success_from_failure(deferrable: bool) -> None:
    quick: dict[str, Any] = {"poke_interval": 0.05, "deferrable": deferrable}
    good = started("true", until=None)
    assert run(RescaleJobSensor(task_id="good", job_id=good, **quick)) == good
    assert run(RescaleJobSensor(task_id="again", job_id=good, **quick)) == good
    bad = started("exit 3", until=None)
    with pytest.raises(AirflowFailException, match="failed"):
        run(RescaleJobSensor(task_id="bad", job_id=bad, **quick))


def test_a_deferred_sensor_has_an_end_too(emulator: EmulatorProcess) -> None:
    job_id = started("sleep 600")
    sensor = RescaleJobSensor(task_id="late", job_id=job_id, deferrable=True, poke_interval=0.05, timeout=0.3)
    with pytest.raises(AirflowSensorTimeout, match="was not over"):
        run(sensor)
    assert emulator.admin.job(job_id)["cluster_up"]
    run(RescaleStopJobOperator(task_id="stop", job_id=job_id, wait_for_termination=False))


def test_a_snapshot_of_what_runs() -> None:
    job_id = started("echo part > part.txt; sleep 600")
    assert run(RescaleSnapshotOperator(task_id="snapshot", job_id=job_id))
    run(RescaleStopJobOperator(task_id="stop", job_id=job_id, **QUICK))
    with pytest.raises((AirflowException, RescaleRefused)):
        run(RescaleSnapshotOperator(task_id="late", job_id=job_id))


def test_files_travel(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "two.txt").write_text("two")
    upload = RescaleUploadFilesOperator(
        task_id="upload", paths=[str(tmp_path / "one.txt"), (tmp_path / "folder").as_uri()]
    )
    sent = run(upload)
    assert run(upload) == sent
    volumes = [{"path": str(tmp_path / "one.txt"), "volumes": True}]
    with pytest.raises(InvalidRequest, match="put together by the job"):
        run(RescaleUploadFilesOperator(task_id="volumes", paths=volumes))
    ids = [each["id"] for each in sent]
    fetched = run(
        RescaleDownloadFilesOperator(
            task_id="download", file_ids=ids, directory=str(tmp_path / "back"), filters="*.txt"
        )
    )
    assert fetched["paths"] == [str(tmp_path / "back" / "one.txt")]
    assert (tmp_path / "back" / "one.txt").read_text() == "one"
    job_id = started("mkdir out; echo 1 > out/a.csv; echo 2 > b.log", until=Goal.CLUSTER_GONE)
    chosen = RescaleDownloadFilesOperator(
        task_id="results",
        job_id=job_id,
        directory=(tmp_path / "store").as_uri(),
        filters=["*.csv"],
    )
    assert run(chosen)["file_count"] == 1
    assert (tmp_path / "store" / "out" / "a.csv").read_text() == "1\n"
    none = RescaleDownloadFilesOperator(
        task_id="none", job_id=job_id, directory=str(tmp_path), filters=["*.png"]
    )
    with pytest.raises(NotFound, match=r"out/a\.csv"):
        run(none)
    with pytest.raises(InvalidRequest, match="either job_id or file_ids"):
        run(RescaleDownloadFilesOperator(task_id="which", directory=str(tmp_path)))


@BOTH
def test_a_storage_device_comes_and_goes(emulator: EmulatorProcess, deferrable: bool) -> None:
    settings: dict[str, Any] = {
        "task_id": f"device-{deferrable}",
        "name": "shared",
        "size_gb": 100,
        "core_type": "granite",
        "cores": 2,
        "walltime": 4,
        "region": "us-east-1",
        "deferrable": deferrable,
        **QUICK,
    }
    device_id = run(RescaleCreateStorageDeviceOperator(**settings))
    assert run(RescaleCreateStorageDeviceOperator(**settings)) == device_id
    sensor = RescaleStorageDeviceSensor(
        task_id="up", device_id=device_id, deferrable=deferrable, poke_interval=0.05
    )
    assert run(sensor) == device_id
    down = RescaleShutdownStorageDeviceOperator(
        task_id="down", device_id=device_id, deferrable=deferrable, **QUICK
    )
    assert run(down) == device_id
    assert run(down) == device_id
    with pytest.raises(AirflowFailException, match="is Stopped"):
        run(sensor)
    with pytest.raises(AirflowFailException, match="us-east-1"):
        run(RescaleCreateStorageDeviceOperator(**{**settings, "region": "nowhere"}))


def cluster(task_id: str = "start", **changes: Any) -> RescaleStartClusterOperator:
    settings: dict[str, Any] = {"core_type": "granite", "cores": 2, "walltime": 1, **QUICK, **changes}
    return RescaleStartClusterOperator(task_id=task_id, name="solver", **settings)


@BOTH
def test_a_cluster_serves_several_commands(
    emulator: EmulatorProcess, tmp_path: Path, deferrable: bool
) -> None:
    store = StateStore()
    task_id = f"start-{deferrable}"
    found = run(cluster(task_id, deferrable=deferrable), context(task_id, store=store))
    assert run(cluster(task_id, deferrable=deferrable), context(task_id, 2, store=store)) == found
    (tmp_path / "in").write_text("4 5\n")
    command = RescaleClusterCommandOperator(
        task_id="add",
        cluster=found,
        command='read a b < data/in; echo "$((a + b + PLUS))" | tee out',
        environment={"PLUS": "1"},
        upload={str(tmp_path / "in"): "data"},
        download={"out": str(tmp_path / "back")},
        deferrable=deferrable,
    )
    assert run(command) == "10"
    assert (tmp_path / "back" / "out").read_text() == "10\n"
    fails = RescaleClusterCommandOperator(
        task_id="fails", cluster=found["job_id"], command="echo why >&2; exit 5", deferrable=deferrable
    )
    with pytest.raises(AirflowException, match=r"exit code 5:\nwhy"):
        run(fails)
    hook = RescaleClusterHook(found)
    assert hook.run("cat out").last_lines == ("10",)
    stop = RescaleStopClusterOperator(task_id="stop", start_task_id=task_id, deferrable=deferrable, **QUICK)
    run(stop)
    run(stop)
    assert not emulator.admin.job(found["job_id"])["cluster_up"]
    assert emulator.admin.job(found["job_id"])["paid_runs"] == 1


def clusters_up(emulator: EmulatorProcess) -> list[str]:
    return [
        job["document"]["name"]
        for job in emulator.admin.jobs()
        if job["cluster_up"] and "solver" in job["document"]["name"]
    ]


def test_a_cluster_that_can_not_be_had_is_none(emulator: EmulatorProcess) -> None:
    emulator.admin.next_scenario("allocation-failure")
    with pytest.raises(Exception, match="Could not allocate"):
        run(cluster("unlucky"))
    until(lambda: not clusters_up(emulator))


def test_a_cluster_with_a_key_that_is_not_taken_is_stopped(
    emulator: EmulatorProcess, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(emulator.admin.jobs())
    connection = json.loads(os.environ["AIRFLOW_CONN_RESCALE_DEFAULT"])
    connection["extra"] = {"ssh_key_file": str(keys / "missing")}
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(connection))
    with pytest.raises(Exception, match="can't be read"):
        run(cluster("keyless"))
    assert len(emulator.admin.jobs()) == before
    foreign = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    connection["extra"] = {"ssh_private_key": foreign}
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(connection))
    with pytest.raises(Exception, match="Job Settings"):
        run(cluster("foreign"))
    run(RescaleStopClusterOperator(task_id="stop", start_task_id="foreign", **QUICK))
    until(lambda: not clusters_up(emulator))


def test_the_stop_finds_what_the_start_did_not_live_to_tell(emulator: EmulatorProcess) -> None:
    store = StateStore()
    found = run(cluster("dead"), context("dead", store=store))
    run(RescaleStopClusterOperator(task_id="stop", start_task_id="dead", **QUICK))
    assert not emulator.admin.job(found["job_id"])["cluster_up"]


def until(condition: Callable[[], bool], patience: float = 20) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_task_ends_its_command_and_the_cluster_stays(
    emulator: EmulatorProcess, tmp_path: Path
) -> None:
    found = run(cluster("killed"))
    up = tmp_path / "pid"
    command = RescaleClusterCommandOperator(
        task_id="long", cluster=found, command=f"echo $$ > {up}.new; mv {up}.new {up}; sleep 600"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, command)
        until(up.exists)
        command.on_kill()
        with pytest.raises(RescaleError, match="was killed there"):
            running.result(30)
    until(lambda: not psutil.pid_exists(int(up.read_text())))
    assert emulator.admin.job(found["job_id"])["cluster_up"]
    run(RescaleStopClusterOperator(task_id="stop", start_task_id="killed", **QUICK))


async def test_a_deferred_task_that_is_taken_away_ends_its_command(tmp_path: Path) -> None:
    found = await asyncio.to_thread(run, cluster("taken"))
    up = tmp_path / "pid"
    trigger = RescaleCommandTrigger(
        found["job_id"], "name", f"echo $$ > {up}.new; mv {up}.new {up}; sleep 600", {}, found["host_key"]
    )
    waiting = asyncio.ensure_future(anext(trigger.run()))
    await asyncio.to_thread(until, up.exists)
    await trigger.on_kill()
    event: Any = (await waiting).payload
    assert "was killed there" in event["error"]
    stop = RescaleStopClusterOperator(task_id="stop", start_task_id="taken", **QUICK)
    await asyncio.to_thread(run, stop)


async def test_a_deferred_start_that_is_taken_away_stops_its_cluster(emulator: EmulatorProcess) -> None:
    job_id = await asyncio.to_thread(started, "sleep 600")
    for stops in (False, True):
        trigger = RescaleWaitTrigger(Goal.CLUSTER_GONE.value, job_id, stop_job_on_kill=stops)
        await trigger.on_kill()
        if not stops:
            assert emulator.admin.job(job_id)["statuses"][-1]["status"] == "Executing"
    await asyncio.to_thread(until, lambda: not emulator.admin.job(job_id)["cluster_up"])


def test_nothing_of_a_command_outlives_its_cluster(tmp_path: Path) -> None:
    found = run(cluster("outlived"))
    up = tmp_path / "pid"
    command = f"echo $$ > {up}.new; mv {up}.new {up}; sleep 600"
    trigger = RescaleCommandTrigger(found["job_id"], "name", command, {})

    async def begin() -> None:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.to_thread(until, up.exists)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(begin())
    assert psutil.pid_exists(int(up.read_text()))
    run(RescaleStopClusterOperator(task_id="stop", start_task_id="outlived", **QUICK))
    until(lambda: not psutil.pid_exists(int(up.read_text())))


def test_a_job_of_many_runs_fills_a_folder_for_each(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "case.in.template").write_text("${x} ${y}\n")
    paths = [str(tmp_path / "cases.csv"), str(tmp_path / "case.in.template")]
    rows, template = run(RescaleUploadFilesOperator(task_id="send", paths=paths))
    study = body("read x y < case.in; echo $((x * y)) > product", name="study")
    study["paramFile"] = rows
    study["jobanalyses"][0]["templateTasks"] = [{"processedFilename": "case.in", "templateFile": template}]
    solve = RescaleSubmitJobOperator(
        task_id="solve", job=study, download_to=str(tmp_path / "results"), **QUICK
    )
    result = run(solve)
    assert {"run1/product", "run2/product"} <= {file["path"] for file in result["files"]}
    products = [(tmp_path / "results" / f"run{number}" / "product").read_text() for number in (1, 2)]
    assert products == ["2\n", "12\n"]
