# SPDX-License-Identifier: Apache-2.0
"""Many deferred jobs of one connection are watched with few requests, and each gets its own event."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from scale_airflow.rescale.async_client import AsyncRescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.endpoints import create_job, submit_job
from scale_airflow.triggers.rescale import RescaleJobEvent, RescaleJobTrigger
from scale_airflow.triggers.rescale_poller import poller_of

JOBS = 16
LONG = "waiting-for-queue:100000"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root") as running:
        yield running


@pytest.fixture(autouse=True)
def connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_RESCALE_DEFAULT", json.dumps(told))
    monkeypatch.setattr("scale_airflow.triggers.settling.LONG_SETTLING_PAUSE", 0.0)
    monkeypatch.setattr("scale_airflow.rescale.cadence.FAILURE_PAUSE", 0.1)


def body(command: str) -> dict[str, Any]:
    hardware = {"coreType": "granite", "coresPerSlot": 2, "walltime": 1}
    row = {"analysis": {"code": "user_included"}, "command": command, "hardware": hardware}
    return {"name": "watched", "jobanalyses": [row]}


async def submitted(emulator: EmulatorProcess, commands: list[str]) -> list[str]:
    async with AsyncRescaleClient(Credentials.of(emulator.base_url, emulator.api_key)) as client:

        async def one(command: str) -> str:
            job = await client.send(create_job(body(command)))
            await client.send(submit_job(job.id))
            return job.id

        return await asyncio.gather(*(one(command) for command in commands))


async def fired(trigger: RescaleJobTrigger) -> RescaleJobEvent:
    async for event in trigger.run():
        return RescaleJobEvent.from_payload(event.payload)
    raise AssertionError("no event")


async def until(look: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_many_jobs_cost_few_requests(emulator: EmulatorProcess) -> None:
    emulator.admin.settings(gateway_timeout_every=0)
    emulator.admin.next_scenario(LONG, JOBS)
    commands = ["true" if number % 2 else "exit 3" for number in range(JOBS)]
    job_ids = await submitted(emulator, commands)
    emulator.admin.reset_counters()
    triggers = [RescaleJobTrigger(job_id, polling_interval=1.0) for job_id in job_ids]
    tasks = [asyncio.create_task(fired(trigger)) for trigger in triggers]
    poller = poller_of("rescale_default", triggers[0]._connect)

    def asked() -> Counter[str]:
        return Counter(emulator.admin.counters()["by_endpoint"])

    # Each is looked at once itself; from then on the list is enough for all.
    await until(lambda: asked()["GET /jobs/{job}/statuses/"] >= JOBS)
    before = asked()
    await until(lambda: asked()["GET /jobs/"] >= before["GET /jobs/"] + 4)
    later = asked() - before
    assert later["GET /jobs/{job}/statuses/"] <= JOBS // 3
    assert poller.watched == JOBS
    seconds = Counter(one["time"][:19] for one in emulator.admin.requests("/jobs/"))
    assert max(seconds.values()) <= 25

    emulator.admin.advance(200_000)
    events = await asyncio.gather(*tasks)
    assert [event.job_id for event in events] == job_ids
    assert Counter(event.outcome for event in events) == {"succeeded": JOBS // 2, "failed": JOBS // 2}
    assert all("A run failed" in event.reason for event in events if event.outcome == "failed")
    # The last one out turns off the light.
    assert poller.watched == 0
    assert poller._client is None


async def test_a_job_that_is_deleted_or_was_never_there(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scale_airflow.triggers.rescale._LATE", 0.3)
    event = await fired(RescaleJobTrigger("nosuch", polling_interval=0.1))
    assert (event.outcome, event.reason) == ("failed", "There is no such job any more")
    draft = emulator.admin.add_job(body("true"))
    event = await fired(RescaleJobTrigger(draft, polling_interval=0.1))
    assert (event.outcome, event.reason) == ("failed", "It was never submitted")


async def test_a_key_that_is_refused_for_too_long(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.expired_key}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(told))
    trigger = RescaleJobTrigger("abc", "other", polling_interval=0.1, outage_budget=0.5)
    event = await fired(trigger)
    assert event.outcome == "lost"
    assert "API key is no longer active" in event.reason
    assert emulator.expired_key not in event.reason


async def test_a_key_that_is_changed_is_taken_up(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.admin.next_scenario(LONG)
    (job_id,) = await submitted(emulator, ["true"])
    told = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.expired_key}
    monkeypatch.setenv("AIRFLOW_CONN_CHANGED", json.dumps(told))
    emulator.admin.reset_counters()
    waiting = asyncio.create_task(fired(RescaleJobTrigger(job_id, "changed", polling_interval=0.1)))
    await until(lambda: emulator.admin.counters()["by_status"].get("401"))
    monkeypatch.setenv("AIRFLOW_CONN_CHANGED", json.dumps({**told, "password": emulator.api_key}))
    emulator.admin.advance(200_000)
    assert (await waiting).outcome == "succeeded"


async def test_two_triggers_of_one_job_and_one_that_is_cancelled(emulator: EmulatorProcess) -> None:
    emulator.admin.next_scenario(LONG)
    (job_id,) = await submitted(emulator, ["true"])
    triggers = [RescaleJobTrigger(job_id, polling_interval=0.1) for _ in range(3)]
    tasks = [asyncio.create_task(fired(trigger)) for trigger in triggers]
    poller = poller_of("rescale_default", triggers[0]._connect)
    await until(lambda: poller.watched == 3)
    tasks[0].cancel()
    await until(lambda: poller.watched == 2)
    # A triggerer that shuts down cancels; the job goes on.
    statuses = [one["status"] for one in emulator.admin.job(job_id)["statuses"]]
    assert "Stopping" not in statuses
    emulator.admin.advance(200_000)
    assert [event.outcome for event in await asyncio.gather(*tasks[1:])] == ["succeeded", "succeeded"]


def test_events_are_read_with_care() -> None:
    for wrong in (None, "x", {}, {"job_id": "a"}, {"job_id": "a", "outcome": "fine"}, {"outcome": "failed"}):
        with pytest.raises(ValueError, match="event of RescaleJobTrigger"):
            RescaleJobEvent.from_payload(wrong)
    event = RescaleJobEvent("a", "failed", "so")
    assert RescaleJobEvent.from_payload(event.to_payload()) == event


def test_a_trigger_is_rebuilt_from_what_it_stores() -> None:
    trigger = RescaleJobTrigger("a", "c", polling_interval=3, timeout_at=5.0, stop_mode="force")
    path, arguments = trigger.serialize()
    json.dumps(arguments)
    assert path == "scale_airflow.triggers.rescale.RescaleJobTrigger"
    assert RescaleJobTrigger(**arguments).serialize() == (path, arguments)
