# SPDX-License-Identifier: Apache-2.0
"""A thousand deferred Rescale jobs in one triggerer: requests a second, and how late their ends are seen.

``python benchmarks/rescale_polling.py [--jobs N] [--seconds S]``

The service is the emulator, in a process of its own; the jobs wait in its queue. One process runs their
triggers as a triggerer does, at the default polling interval. Rescale allows 25 requests a second for jobs.

* **Peak** and **mean**: requests in a second of the emulator's own record, from the first to the last; the
  mean once each job has been looked at.
* **Lateness**: ten of the jobs execute, and end one after the other; from the end of the command to the
  trigger's event.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the standard library's queue, not queue.py beside this file

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from measuring.report import Ratio, finish

from scale_airflow.rescale.async_client import AsyncRescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.endpoints import create_job, submit_job
from scale_airflow.rescale.rates import RateBuckets
from scale_airflow.triggers.rescale import RescaleJobTrigger

ALLOWED = 25
EXECUTING = 10


def job(command: str) -> dict[str, Any]:
    """Return the body of a small job."""
    hardware = {"coreType": "granite", "coresPerSlot": 2, "walltime": 1}
    row = {"analysis": {"code": "user_included"}, "command": command, "hardware": hardware}
    return {"name": "watched", "jobanalyses": [row]}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=420.0, help="how long the jobs are watched")
    wanted = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="scale-bench-") as folder,
        EmulatorProcess(Path(folder) / "emulator") as emulator,
    ):
        told = {"conn_type": "rescale", "host": emulator.base_url, "password": emulator.api_key}
        os.environ["AIRFLOW_CONN_RESCALE_DEFAULT"] = json.dumps(told)
        asyncio.run(measure(emulator, wanted.jobs, wanted.seconds))


async def measure(emulator: EmulatorProcess, jobs: int, seconds: float) -> None:
    """Watch so many jobs for so many seconds."""
    gates = [emulator.root.parent / f"gate-{number}" for number in range(EXECUTING)]
    credentials = Credentials.of(emulator.base_url, emulator.api_key)
    async with AsyncRescaleClient(credentials, rates=RateBuckets({})) as client:
        job_ids = []
        for number in range(jobs):
            if number < EXECUTING:
                body = job(f"while [ ! -e {gates[number]} ]; do sleep 0.2; done")
            else:
                body = job("true")
                emulator.admin.next_scenario("waiting-for-queue:100000000")
            job_ids.append((await client.send(create_job(body))).id)
            await client.send(submit_job(job_ids[-1]))
        emulator.admin.reset_counters()
        begun = time.monotonic()
        ends = {job_id: asyncio.create_task(end_of(job_id)) for job_id in job_ids}
        while emulator.admin.counters()["by_endpoint"].get("GET /jobs/{job}/statuses/", 0) < jobs:
            await asyncio.sleep(1)
        all_seen = time.monotonic() - begun
        before, since = requests(emulator), time.monotonic()
        await asyncio.sleep(max(30.0, seconds - all_seen))
        mean = (requests(emulator) - before) / (time.monotonic() - since)
        late = [await lateness(gate, ends[job_id]) for gate, job_id in zip(gates, job_ids, strict=False)]
    a_second = Counter(one["time"][:19] for one in emulator.admin.requests("/jobs/", "GET"))
    for end in ends.values():
        end.cancel()
    await asyncio.gather(*ends.values(), return_exceptions=True)
    print(f"{jobs} jobs, each looked at once after {all_seen:.0f} s")
    print(f"an end is seen after {statistics.median(late):.1f} s (median)")
    finish(
        "rescale_polling",
        {
            "most requests in a second": Ratio(max(a_second.values()), ALLOWED, "lower"),
            "requests a second, once all were looked at": Ratio(mean, ALLOWED / 4, "lower"),
        },
        jobs=jobs,
        first_look_seconds=all_seen,
        lateness_seconds=sorted(late),
    )


async def end_of(job_id: str) -> datetime:
    """Run a job's trigger and return when it fired."""
    async for _ in RescaleJobTrigger(job_id, follow_log=True).run():
        return datetime.now(timezone.utc)
    raise AssertionError("no event")


def requests(emulator: EmulatorProcess) -> int:
    """Return how many requests the emulator has had."""
    return int(emulator.admin.counters()["requests"])


async def lateness(gate: Path, end: asyncio.Task[datetime]) -> float:
    """Let a job's command end and return how many seconds later its trigger fired."""
    ended = datetime.now(timezone.utc)
    gate.touch()
    return (await end - ended).total_seconds()


if __name__ == "__main__":
    main()
