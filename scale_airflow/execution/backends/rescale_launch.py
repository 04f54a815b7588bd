# SPDX-License-Identifier: Apache-2.0
"""From an order to one paid job at Rescale: its body, its inputs, and what is remembered of it."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dateutil.parser import isoparse

from scale_airflow import crash_points
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.definitions.remote_settings import CHEAPEST, RemoteSettings
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends.base import JobRun
from scale_airflow.execution.backends.rescale_command import RemoteInput, place_of, remote_command
from scale_airflow.execution.order import ExecutionOrder, FileRef
from scale_airflow.hooks.rescale_connection import RescaleSettings
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.conversations import priced
from scale_airflow.rescale.endpoints import list_core_types
from scale_airflow.rescale.models import CoreType
from scale_airflow.rescale.submission import Marker, Outcome, Patience, settle
from scale_airflow.rescale.submission_client import ClientPort
from scale_airflow.rescale.submission_steps import Memory, drive
from scale_airflow.rescale.transfers.upload import Uploader

NOTES = "remote.json"
"""Name of the file in the scratch folder in which a worker remembers the remote job."""
_MB_OF_MIB = 1.048576
_UNPLAIN = re.compile(r"[^A-Za-z0-9._-]")
_NAME = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notes:
    """What a worker remembers of the remote job, for itself and for the next one on this host."""

    path: Path

    def recall(self) -> Memory | None:
        """Return what was remembered last."""
        try:
            return Memory.from_document(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def remember(self, memory: Memory) -> None:
        """Store it; it is on the disk when this returns.

        :raises OSError: if it can't be stored.
        """
        new = self.path.with_suffix(".new")
        crash_points.reach("rescale.remember.before")
        with new.open("w", encoding="utf-8") as file:
            json.dump(memory.to_document(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        crash_points.reach("rescale.remember.after")


class LaunchPort(ClientPort):
    """The steps of a submission, with places to die at around those that change something there."""

    def create(self, body: dict[str, Any]) -> str:
        """Save a draft; see :class:`ClientPort`."""
        crash_points.reach("rescale.create.before")
        job_id = super().create(body)
        crash_points.reach("rescale.create.after")
        return job_id

    def submit(self, job_id: str) -> None:
        """Start the job; see :class:`ClientPort`."""
        crash_points.reach("rescale.submit.before")
        super().submit(job_id)
        crash_points.reach("rescale.submit.after")


@dataclass(frozen=True)
class Launch:
    """Makes the one remote job of an execution, or finds it.

    :param checkpoint: called now and then; raises when the execution has to stop.
    """

    settings: RescaleSettings
    client: RescaleClient
    checkpoint: Callable[[], None]
    patience: Patience

    def run(self, run: JobRun, notes: Notes) -> Outcome:
        """Return the job, submitted.

        :raises ExecutionFailure: if the order can't be carried out.
        :raises RescaleError: if Rescale refuses or can't be reached.
        """
        remote = remote_of(run.order)
        inputs = inputs_of(run)
        command = remote_command(
            run, [each.shown for each in inputs], JobTypeConfiguration.parse(run.order.configuration).env_vars
        )
        marker = marker_of(run.order, [command, dict(run.order.configuration.get("remote", {}))])

        def prepare() -> dict[str, Any]:
            return self._body(run.order, remote, command, self._upload(inputs), marker)

        assert run.order.remote is not None
        port = LaunchPort(
            self.client,
            notes,
            prepare,
            since=isoparse(run.order.remote.since),
            checkpoint=self.checkpoint,
            logger=log,
        )
        return drive(settle(marker, patience=self.patience), port)

    def _upload(self, inputs: Sequence[Staged]) -> list[str]:
        """Send the inputs, but for those that are there already; return their ids in order."""
        if not inputs:
            return []
        # A file that is given to two inputs is sent once.
        names = {each.source: each.shown.name for each in inputs}
        arguments = self.settings.client_arguments("ScaleJobOperator")
        arguments.pop("max_concurrency")
        crash_points.reach("rescale.upload.before")
        with Uploader(self.settings.credentials, **arguments) as uploader:
            files = uploader.upload(
                list(names),
                names=names.__getitem__,
                progress=lambda progress: self.checkpoint(),
            )
        crash_points.reach("rescale.upload.after")
        log.info("%s inputs are at Rescale", len(files))
        return [file.id for file in files]

    def _body(
        self, order: ExecutionOrder, remote: RemoteSettings, command: str, files: list[str], marker: Marker
    ) -> dict[str, Any]:
        """Return the job's body with its hardware chosen, at a price that is not too high.

        :raises RescaleCostRefused: if it could cost more than it may.
        """
        core_types = self.client.all(list_core_types())
        body = body_of(order, remote, command, files, marker, core_types)
        found = self.client.run(priced(body, remote.max_cost))
        log.info("The job costs at most %s", found.estimate)
        return found.body


@dataclass(frozen=True)
class Staged:
    """An input file to be sent: where it lies, and what it is there."""

    source: Path
    shown: RemoteInput


def remote_of(order: ExecutionOrder) -> RemoteSettings:
    """Return where and on what the order is to run.

    :raises ExecutionFailure: if it does not say.
    """
    remote = JobTypeConfiguration.parse(order.configuration).remote
    if remote is None or order.remote is None:
        raise ExecutionFailure("The job type's configuration no longer says how its jobs run on Rescale.")
    return remote


def marker_of(order: ExecutionOrder, payload: object) -> Marker:
    """Return what the execution's job is found by; :param payload: what it is made of."""
    assert order.remote is not None
    return Marker(order.remote.marker, Marker.of("", "", "", -1, payload).payload)


def inputs_of(run: JobRun) -> list[Staged]:
    """Return the input files, each with a name of its own in the remote folder: the same in every job."""
    return [
        Staged(file.source, RemoteInput(_remote_name(file.reference), place_of(run, file.target)))
        for file in run.staged.files
    ]


def _remote_name(file: FileRef) -> str:
    # A name that an archive would have means nothing there: inputs are not unpacked.
    return f"scale_{file.id}_{_UNPLAIN.sub('_', file.file_name)[-_NAME:]}"


def body_of(
    order: ExecutionOrder,
    remote: RemoteSettings,
    command: str,
    files: Sequence[str],
    marker: Marker,
    core_types: Sequence[CoreType],
) -> dict[str, Any]:
    """Return the body of the job; what is to be the cheapest is still called so in it."""
    analysis: dict[str, Any] = {"code": remote.analysis_code}
    if remote.analysis_version is not None:
        analysis["version"] = remote.analysis_version
    body: dict[str, Any] = {
        "name": marker.name(f"{order.job_type_name} {order.job_type_version}, job {order.job_id} of Scale"),
        "isLowPriority": remote.low_priority,
        "jobanalyses": [
            {
                "analysis": analysis,
                "command": command,
                "hardware": _hardware(order, remote, core_types),
                "inputFiles": [{"id": each, "decompress": False} for each in dict.fromkeys(files)],
            }
        ],
    }
    if remote.project is not None:
        body["projectId"] = remote.project
    return body


def _hardware(
    order: ExecutionOrder, remote: RemoteSettings, core_types: Sequence[CoreType]
) -> dict[str, Any]:
    wanted = remote.hardware
    hours = remote.walltime_hours(order.timeout)
    cores = wanted.cores_per_slot or max(1, math.ceil(order.cpus))
    found: dict[str, Any] = {"coreType": wanted.core_type, "coresPerSlot": cores, "slots": wanted.slots}
    if hours is not None:
        found["walltime"] = hours
    if wanted.core_type == CHEAPEST:
        found["memory"] = math.ceil(order.mem_mib * _MB_OF_MIB)
        if wanted.category is not None:
            found["category"] = wanted.category
    elif wanted.cores_per_slot is None:
        offered = next((each.cores for each in core_types if each.code == wanted.core_type), ())
        found["coresPerSlot"] = min((number for number in offered if number >= cores), default=cores)
    return found
