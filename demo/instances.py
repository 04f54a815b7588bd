# SPDX-License-Identifier: Apache-2.0
"""Where demonstrations live: one folder for each port below ``.demo/instances``, free ports, leftovers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from demo.errors import DemoError
from demo.installation import CHECKOUT, Installation

STATE = CHECKOUT / ".demo"
CREDENTIALS = STATE / "credentials.json"
FIRST_PORT = 8080
_PORTS_TRIED = 200


def claim(port: int | None) -> Installation:
    """Take a port and its folder for a new demonstration; clear away what crashed ones left.

    :param port: the port to use; None for the first free one from 8080.
    :raises DemoError: if the port is taken.
    """
    with _lock():
        clear_leftovers()
        if port is None:
            port = next((number for number in _candidates() if is_free(number)), None)
            if port is None:
                raise DemoError(
                    f"None of the ports {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED} is free.",
                    "Give one: PORT=…",
                )
        elif _folder(port).exists():
            raise DemoError(
                f"A demo of this checkout runs on port {port} already.",
                f"Stop it with `make stop PORT={port}`, or give another port: `make demo PORT={port + 1}`.",
            )
        elif not is_free(port):
            raise DemoError(f"Port {port} is taken by another program.", "Give a free one: make demo PORT=…")
        installation = Installation(_folder(port), port)
        installation.claim()
        return installation


def _candidates() -> Iterator[int]:
    for number in range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED):
        if not _folder(number).exists():
            yield number


def is_free(port: int) -> bool:
    """Say whether this host's port can be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections that linger after their end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def running() -> list[Installation]:
    """Return the demonstrations of this checkout that run."""
    return [each for each in _all() if each.is_alive()]


def clear_leftovers() -> None:
    """End and remove what demonstrations left that were not stopped as they should be."""
    for installation in _all():
        if not installation.is_alive():
            installation.remove()


def stop(port: int | None) -> list[int]:
    """Stop one demonstration, or all; return their ports.

    :raises DemoError: if none runs on the given port.
    """
    # Without the lock: a demonstration that is being made holds it only for a moment, and may be stopped.
    found = [each for each in _all() if port in (None, each.port)]
    if port is not None and not found:
        ports = ", ".join(str(each.port) for each in running()) or "none"
        raise DemoError(f"No demo of this checkout runs on port {port}.", f"Running on: {ports}.")
    stopped = []
    for installation in found:
        if installation.is_alive():
            stopped.append(installation.port)
        installation.remove()
        forget_credentials(installation)
    return stopped


def publish_credentials(installation: Installation) -> None:
    """Write ``.demo/credentials.json``: how to log in to the demonstration that started last."""
    text = json.dumps(installation.credentials.as_dict(), indent=2) + "\n"
    write_private(CREDENTIALS, text)


def forget_credentials(installation: Installation) -> None:
    """Remove the credentials of a demonstration that is gone."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads(CREDENTIALS.read_text())["url"] == installation.url:
            CREDENTIALS.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def _folder(port: int) -> Path:
    return STATE / "instances" / str(port)


def _all() -> list[Installation]:
    folders = (STATE / "instances").glob("[0-9]*")
    return [Installation(folder, int(folder.name)) for folder in sorted(folders) if folder.name.isdecimal()]


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one `make demo` at a time choose its port."""
    try:
        (STATE / "instances").mkdir(parents=True, exist_ok=True)
        lock = (STATE / "lock").open("w")
    except OSError as error:
        raise DemoError(
            f"{STATE} can't be written: {error.strerror}.", "The demo keeps all its state there."
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_tree(folder: Path) -> None:
    """Remove a folder; processes that end may still add to it."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
