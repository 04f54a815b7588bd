# SPDX-License-Identifier: Apache-2.0
"""Storage devices: file systems that jobs share; and the endpoints of which only the name is known."""

from __future__ import annotations

from typing import Any

from scale_airflow.rescale.emulator import catalog
from scale_airflow.rescale.emulator.answers import Answer, empty_answer, json_answer
from scale_airflow.rescale.emulator.exchange import Exchange
from scale_airflow.rescale.emulator.moments import with_z
from scale_airflow.rescale.emulator.paging import page_of
from scale_airflow.rescale.emulator.records import DEVICE, DeviceRecord
from scale_airflow.rescale.emulator.refusals import invalid, not_found, refused
from scale_airflow.rescale.emulator.routing import Endpoint
from scale_airflow.rescale.emulator.validation import REQUIRED, Fields
from scale_airflow.rescale.emulator.views import status_document


def device_of(exchange: Exchange) -> DeviceRecord:
    """Return the storage device that the path names; 404 when the caller has no such device."""
    record = exchange.state.devices.get(exchange.values["device"])
    if record is None or record.owner != exchange.caller.email:
        raise not_found()
    return record


async def create_device(exchange: Exchange) -> Answer:
    """Answer row 40: save a storage device; it does not start."""
    fields = Fields(await exchange.fields())
    document = {
        "name": fields.text("name"),
        "storageSize": _required(fields, "storageSize"),
        "hardware": fields.object("hardware", _hardware, required=True),
        "firstAlert": fields.number("firstAlert"),
        "secondAlert": fields.number("secondAlert"),
        "autoextend": fields.flag("autoextend", False),
        "autoextendPercent": fields.number("autoextendPercent"),
        "walltimeAlert": fields.flag("walltimeAlert", False),
        "walltimeAlertHours": fields.number("walltimeAlertHours"),
        "region": fields.object("region", _region) or catalog.REGIONS[0],
    }
    if fields.errors:
        raise invalid(fields.errors)
    record = DeviceRecord(
        id=exchange.state.new_id(),
        owner=exchange.caller.email,
        document=document,
        inserted=exchange.emulator.clock.now(),
        number=exchange.state.next_number(),
    )
    exchange.state.put(record)
    return json_answer(_document(record), 201)


def _required(fields: Fields, name: str) -> int | None:
    number = fields.number(name)
    if number is None and name not in fields.errors:
        fields.fault(name, REQUIRED)
    return number


def _hardware(fields: Fields) -> dict[str, Any]:
    code = fields.text("coreType")
    cores, walltime = _required(fields, "coresPerSlot"), _required(fields, "walltime")
    core_type = catalog.CORE_TYPES_BY_CODE.get(code)
    if core_type is None and code:
        fields.fault("coreType", f'There is no core type with the code "{code}".')
    elif core_type is not None and cores is not None and cores not in core_type.cores:
        fields.fault("coresPerSlot", f"{core_type.name} has no slots with {cores} cores.")
    return {"coreType": code, "coresPerSlot": cores, "walltime": walltime}


def _region(fields: Fields) -> dict[str, str] | None:
    region_id = fields.text("id")
    found = next((one for one in catalog.REGIONS if one["id"] == region_id), None)
    if found is None and region_id:
        fields.fault("id", f'Invalid pk "{region_id}" - object does not exist.')
    return found


def _document(record: DeviceRecord) -> dict[str, Any]:
    return {
        **record.document,
        "id": record.id,
        "owner": record.owner,
        "dateInserted": with_z(record.inserted),
        "dateSubmitted": with_z(record.submitted),
    }


async def list_devices(exchange: Exchange) -> Answer:
    """Answer row 41: the caller's storage devices, newest first."""
    own = [one for one in exchange.state.devices.values() if one.owner == exchange.caller.email]
    return json_answer(page_of(own[::-1], exchange.url, _document))


async def get_device(exchange: Exchange) -> Answer:
    """Answer row 41: one storage device."""
    return json_answer(_document(device_of(exchange)))


async def list_regions(exchange: Exchange) -> Answer:
    """Answer row 41: a bare list."""
    return json_answer(list(catalog.REGIONS))


async def submit_device(exchange: Exchange) -> Answer:
    """Answer row 42: start a storage device."""
    if not exchange.emulator.work.submit_device(device_of(exchange).id):
        raise refused("The storage device was submitted before.")
    return empty_answer(200)


async def shutdown_device(exchange: Exchange) -> Answer:
    """Answer row 42: stop a storage device; what is on it is gone."""
    if not exchange.emulator.work.shutdown_device(device_of(exchange).id):
        raise refused("The storage device is not running.")
    return empty_answer(200)


async def list_device_statuses(exchange: Exchange) -> Answer:
    """Answer row 43: a storage device's history, newest first; Started: usable."""
    history = exchange.state.history(DEVICE, device_of(exchange).id)[::-1]
    return json_answer(page_of(history, exchange.url, lambda one: status_document(one, offset=False)))


async def get_task(exchange: Exchange) -> Answer:
    """Answer row 45: there are no tasks here, since nobody says what starts one."""
    raise not_found()


ENDPOINTS = [
    Endpoint("/storage-devices/", "user", {"GET": list_devices, "POST": create_device}),
    Endpoint("/storage-devices/available-regions/", "user", {"GET": list_regions}),
    Endpoint("/storage-devices/{device}/", "user", {"GET": get_device}),
    Endpoint("/storage-devices/{device}/submit/", "user", {"POST": submit_device}),
    Endpoint("/storage-devices/{device}/shutdown/", "user", {"POST": shutdown_device}),
    Endpoint("/storage-devices/{device}/statuses/", "user", {"GET": list_device_statuses}),
    Endpoint("/tasks/{token}/", "user", {"GET": get_task}),
]
