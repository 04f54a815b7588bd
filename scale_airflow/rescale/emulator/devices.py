# SPDX-License-Identifier: Apache-2.0
"""Storage devices: on after a while, off when told or when their walltime ends, and with it their files."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import replace

from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.delays import Delays
from scale_airflow.rescale.emulator.records import DEVICE
from scale_airflow.rescale.emulator.state import State

STARTED = "Started"
_GOING = ("Stopping", "Stopped")


class Devices:
    """Runs the storage devices of an emulator: directories below ``<root>/storage``."""

    def __init__(self, state: State, clock: Clock, delays: Delays, *, hour: float = 3600.0) -> None:
        self._state = state
        self._clock = clock
        self._delays = delays
        self._hour = hour
        self._storage = state.root.resolve() / "storage"
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._off: dict[str, asyncio.Event] = {}

    def start(self) -> None:
        """Go on with the devices that a former emulator had on."""
        for device in self._state.devices.values():
            if device.submitted is not None and self._state.latest(DEVICE, device.id) != "Stopped":
                self._follow(device.id)

    async def close(self) -> None:
        """Let go of all devices; they go on when the emulator is there again."""
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    def submit(self, device_id: str) -> bool:
        """Start a device; False: it was started before."""
        device = self._state.devices[device_id]
        if device.submitted is not None:
            return False
        self._add(device_id, "Starting")
        self._change(device_id, submitted=True)
        self._follow(device_id)
        return True

    def shutdown(self, device_id: str) -> bool:
        """Stop a device; False: it does not run."""
        if self._state.latest(DEVICE, device_id) in (None, *_GOING):
            return False
        self._change(device_id, submitted=False)
        self._add(device_id, "Stopping")
        self._off[device_id].set()
        return True

    def _change(self, device_id: str, *, submitted: bool) -> None:
        device = self._state.devices[device_id]
        now = self._clock.now()
        self._state.put(replace(device, submitted=now) if submitted else replace(device, shutdown=now))

    def _add(self, device_id: str, status: str) -> None:
        self._state.add_status(DEVICE, device_id, status, self._clock.now())

    def _follow(self, device_id: str) -> None:
        self._off[device_id] = asyncio.Event()
        self._tasks[device_id] = asyncio.create_task(self._live(device_id), name=f"device {device_id}")

    async def _live(self, device_id: str) -> None:
        latest = self._state.latest(DEVICE, device_id)
        if latest == "Starting" or latest is None:
            (self._storage / device_id).mkdir(parents=True, exist_ok=True)
            await self._clock.sleep(self._delays.device)
            if self._state.latest(DEVICE, device_id) not in _GOING:
                self._add(device_id, STARTED)
        if self._state.latest(DEVICE, device_id) == STARTED:
            hardware = self._state.devices[device_id].document.get("hardware") or {}
            walltime = float(hardware.get("walltime") or 0) * self._hour
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._off[device_id].wait(), walltime or None)
            if self._state.latest(DEVICE, device_id) == STARTED:
                self.shutdown(device_id)
        await self._clock.sleep(self._delays.device)
        await asyncio.to_thread(shutil.rmtree, self._storage / device_id, ignore_errors=True)
        self._add(device_id, "Stopped")
