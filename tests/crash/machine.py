# SPDX-License-Identifier: Apache-2.0
"""What a run needs of the machine: processes and their sessions, a port, a folder, an image."""

from __future__ import annotations

import io
import os
import random
import signal
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from demo.instances import is_free
from tests.crash import documents
from tests.docker_engine import Engine, busybox_tar


def members(session: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def make_image(engine: Engine) -> None:
    """Make the image of jobs in containers."""
    program = documents.PROGRAM.encode()
    buffer = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        entry = tarfile.TarInfo(documents.PROGRAM_IN_IMAGE.lstrip("/"))
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
    client = engine.client()
    repository, _, tag = documents.IMAGE.partition(":")
    client.import_image_from_data(buffer.getvalue(), repository=repository, tag=tag)
    client.close()


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system gives to outgoing connections."""
    return next(port for port in iter(lambda: random.randrange(20_000, 32_000), None) if is_free(port))


def signal_quietly(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; tell whether there was somebody to take it."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def new_folder() -> Path:
    """Return a new folder for a run, with a short path, that PostgreSQL's user can get to."""
    folder = Path(tempfile.mkdtemp(prefix="scale-crash-"))
    folder.chmod(0o711)
    return folder
