# SPDX-License-Identifier: Apache-2.0
"""Puts an emulator together, and runs it until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import sys

from scale_airflow.rescale.emulator.auth import Keys
from scale_airflow.rescale.emulator.blobs import Blobs
from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.exchange import Emulator
from scale_airflow.rescale.emulator.life import Conditions, JobLife
from scale_airflow.rescale.emulator.server import Planes
from scale_airflow.rescale.emulator.settings import Settings
from scale_airflow.rescale.emulator.state import State

MOST_FILES = 65536


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT, then end all jobs.

    :param options: of the command line.
    :raises RootInUseError: another emulator has the directory.
    :raises OSError: a port is taken, or the directory can't be written.
    """
    root = options.root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    _raise_file_limit()
    settings = Settings(
        pace=options.pace,
        speed_per_connection=options.speed_per_connection,
        speed_total=options.speed_total,
        latency=options.latency,
        jitter=options.jitter,
        throttle=options.throttle,
        project_required=options.project_required,
        gateway_timeout_every=options.gateway_timeout_every,
    )
    state = State(root)
    blobs, clock = Blobs(root), Clock(options.pace)
    blobs.sweep({one.blob for one in state.files.values() if not one.is_deleted})
    keys = Keys(state, options.api_key, options.expired_key, options.inactive_key)
    conditions = Conditions(walltime_hour=options.hour)
    work = JobLife(state, blobs, clock, conditions=conditions, authorized_keys=options.authorized_keys)
    try:
        planes = Planes(Emulator(settings, state, blobs, clock, keys, work), options.port, options.admin_port)
    except OSError:
        state.close()
        raise
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.end_with_input:
        # Whatever comes is the end: nobody writes there.
        loop.add_reader(sys.stdin.fileno(), _end, loop, ended)
    try:
        work.base_url = planes.address
        # Before anybody is served: what a killed emulator left is found first.
        await work.start()
        await planes.start()
        print(f"Ready: {planes.address} admin {planes.admin_address}", flush=True)
        await ended.wait()
    finally:
        await planes.close()
        await work.close()
        state.close()


def _raise_file_limit() -> None:
    """Allow as many open files as we may have: each connection and each running job takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    loop.remove_reader(sys.stdin.fileno())
    ended.set()
