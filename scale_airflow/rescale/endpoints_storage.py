# SPDX-License-Identifier: Apache-2.0
"""Storage devices: file systems that several jobs share. They cost money from submit to shutdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scale_airflow.rescale.calls import Call, Repeat, path_of
from scale_airflow.rescale.file_models import Region, StorageDevice, StorageDeviceStatus
from scale_airflow.rescale.paging import PagedCall

_DEVICES = "storage-devices"


def create_storage_device(body: Mapping[str, Any]) -> Call[StorageDevice]:
    """Define a storage device; it does not run yet.

    :param body: ``name``, ``storageSize`` (GB), ``hardware`` (walltime, coresPerSlot, coreType), ``region``
        (``{"id": …}``), alerts.
    """
    return Call("POST", path_of(_DEVICES), StorageDevice.from_document, body=dict(body), repeat=Repeat.NEVER)


def list_storage_devices() -> PagedCall[StorageDevice]:
    """List storage devices."""
    return PagedCall(path_of(_DEVICES), StorageDevice.from_document)


def get_storage_device(device_id: str) -> Call[StorageDevice]:
    """Return one storage device."""
    return Call("GET", path_of(_DEVICES, device_id), StorageDevice.from_document)


def list_regions() -> PagedCall[Region]:
    """List the regions in which a storage device can be."""
    return PagedCall(path_of(_DEVICES, "available-regions"), Region.from_document, page_size=None)


def submit_storage_device(device_id: str) -> Call[Any]:
    """Start a storage device: from here on it costs money. Read its statuses before a second time."""
    return Call(
        "POST", path_of(_DEVICES, device_id, "submit"), _as_it_is, repeat=Repeat.NEVER, reads="nothing"
    )


def shutdown_storage_device(device_id: str) -> Call[Any]:
    """Shut a storage device down; what is on it is gone."""
    return Call("POST", path_of(_DEVICES, device_id, "shutdown"), _as_it_is, reads="nothing")


def list_storage_device_statuses(device_id: str) -> PagedCall[StorageDeviceStatus]:
    """List a storage device's history; ``Started`` means usable."""
    return PagedCall(
        path_of(_DEVICES, device_id, "statuses"),
        StorageDeviceStatus.from_document,
        flaky=frozenset({504}),
    )


def _as_it_is(document: Any) -> Any:
    return document
