# SPDX-License-Identifier: Apache-2.0
"""Operators for Rescale's storage devices: file systems that several jobs share, and that cost money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from scale_airflow.errors import RescaleNotFound, RescaleRefused, RescaleUncertain
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_wait import RescaleWaitingOperator
from scale_airflow.rescale.endpoints import (
    create_storage_device,
    list_regions,
    list_storage_device_statuses,
    list_storage_devices,
    shutdown_storage_device,
    submit_storage_device,
)
from scale_airflow.rescale.submission import Marker
from scale_airflow.rescale.verdict import newest_first
from scale_airflow.rescale.waits import Goal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from scale_airflow.rescale.client import RescaleClient


_RUNNING = ("Pending", "Queued", "Starting", "Started")


class RescaleCreateStorageDeviceOperator(RescaleWaitingOperator):
    """Makes a storage device, starts it and waits until jobs can use it; its XCom is the device's id.

    Give it to jobs with ``storage_devices`` of ``RescaleSubmitJobOperator``; there it is mounted below
    ``~/storage_{id}``. A try after a crash finds the device that the one before has made, by the marker in
    its name, and never starts a second one.

    :param name: of the device (templated).
    :param size_gb: gigabytes.
    :param core_type: of the machine that serves it (templated).
    :param cores: of that machine.
    :param walltime: hours after which Rescale shuts it down.
    :param region: name or id of its region (templated); None where there is only one.
    :param settings: further fields as Rescale's API has them, such as ``firstAlert`` or ``autoextend``.
    """

    template_fields: Sequence[str] = ("name", "core_type", "region", "settings", "rescale_conn_id")
    template_fields_renderers = {"settings": "json"}  # noqa: RUF012 - as Airflow has it

    def __init__(
        self,
        *,
        name: str,
        size_gb: int,
        core_type: str,
        cores: int,
        walltime: int,
        region: str | None = None,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.name = name
        self.size_gb = size_gb
        self.core_type = core_type
        self.cores = cores
        self.walltime = walltime
        self.region = region
        self.settings = settings

    def execute(self, context: Context) -> Any:
        """Make the device, start it and wait.

        :raises AirflowFailException: if there is no such region; names those that there are.
        """
        ti: Any = context["ti"]
        with RescaleHook(self.rescale_conn_id).client as client:
            body = self._body(client)
            map_index = -1 if ti.map_index is None else ti.map_index
            marker = Marker.of(ti.dag_id, ti.run_id, ti.task_id, map_index, body)
            device_id = self._device(client, marker, body)
            self._start(client, device_id)
        return self.wait(Goal.DEVICE_STARTED, device_id)

    def _body(self, client: RescaleClient) -> dict[str, Any]:
        regions = client.all(list_regions())
        wanted = [each for each in regions if self.region in (None, each.id, each.name)]
        if len(wanted) != 1:
            known = ", ".join(f"{each.name} ({each.id})" for each in regions) or "none"
            problem = "Say in which region" if self.region is None else f"There is no region {self.region!r}"
            raise AirflowFailException(f"{problem} the storage device is to be. There are: {known}.")
        hardware = {"walltime": self.walltime, "coresPerSlot": self.cores, "coreType": self.core_type}
        return {
            **(self.settings or {}),
            "storageSize": self.size_gb,
            "hardware": hardware,
            "region": {"id": wanted[0].id},
        }

    def _device(self, client: RescaleClient, marker: Marker, body: dict[str, Any]) -> str:
        """Return the device of an earlier try, or a new one."""
        for each in client.pages(list_storage_devices()):
            if marker.payload_of(each.name) == marker.payload and not self._is_over(client, each.id):
                self.log.info("Storage device %s was made by an earlier try", each.id)
                return each.id
        try:
            made = client.send(create_storage_device({**body, "name": marker.name(self.name)}))
        except RescaleUncertain:
            for each in client.pages(list_storage_devices()):
                if marker.payload_of(each.name) == marker.payload and not self._is_over(client, each.id):
                    return each.id
            raise
        self.log.info("Made storage device %s", made.id)
        return made.id

    def _is_over(self, client: RescaleClient, device_id: str) -> bool:
        statuses = client.all(list_storage_device_statuses(device_id))
        return bool(statuses) and newest_first(statuses)[0].status not in _RUNNING

    def _start(self, client: RescaleClient, device_id: str) -> None:
        """Start the device unless it was started; an unclear answer is cleared up by its statuses."""
        if client.all(list_storage_device_statuses(device_id)):
            return
        try:
            client.send(submit_storage_device(device_id))
        except RescaleUncertain:
            if not client.all(list_storage_device_statuses(device_id)):
                raise


class RescaleShutdownStorageDeviceOperator(RescaleWaitingOperator):
    """Shuts a storage device down, with all that is on it; one that is down already is no error.

    As a teardown of ``RescaleCreateStorageDeviceOperator`` it leaves none running.

    :param device_id: the device (templated).
    :param wait_for_termination: wait until it is down and costs nothing any more.
    """

    template_fields: Sequence[str] = ("device_id", "rescale_conn_id")

    def __init__(self, *, device_id: str, wait_for_termination: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.device_id = device_id
        self.wait_for_termination = wait_for_termination

    def execute(self, context: Context) -> Any:
        """Shut the device down."""
        with RescaleHook(self.rescale_conn_id).client as client:
            try:
                client.send(shutdown_storage_device(self.device_id))
            except RescaleNotFound:
                self.log.info("Storage device %s does not exist (any more)", self.device_id)
                return self.device_id
            except RescaleRefused:
                # Also what is refused because there is nothing to shut down.
                statuses = client.all(list_storage_device_statuses(self.device_id))
                if statuses and newest_first(statuses)[0].status in _RUNNING:
                    raise
                self.log.info("Storage device %s does not run", self.device_id)
                return self.device_id
        self.log.info("Storage device %s is being shut down", self.device_id)
        if not self.wait_for_termination:
            return self.device_id
        return self.wait(Goal.DEVICE_GONE, self.device_id)
