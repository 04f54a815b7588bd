# SPDX-License-Identifier: Apache-2.0
"""Places at which a test can have a process die, to see that nothing is lost whatever dies when.

They lie before and after every transaction that writes and every operation on files; docs/reference lists
them. Nothing happens at them unless the environment variable ``SCALE_CRASH_POINTS`` names a folder (see
:mod:`tests.crash`). Then the first process that reaches a point of which the folder ``armed`` in it has a
file takes that file away, notes itself in ``hits.jsonl``, and kills itself with SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

VARIABLE = "SCALE_CRASH_POINTS"
ARMED = "armed"
PASSED = "passed"
HITS = "hits.jsonl"

_folder: str | None = os.environ.get(VARIABLE) or None
_passed: set[str] = set()


def reach(name: str) -> None:
    """Die here, if a test has armed this point.

    :param name: unique and stable; a literal where it is called, so that the points can be listed.
    """
    if _folder is not None:
        _reach(_folder, name)


def _reach(folder: str, name: str) -> None:
    if name not in _passed:
        _passed.add(name)
        _note_passage(folder, name)
    armed = f"{folder}/{ARMED}/{name}"
    try:
        # One process alone succeeds.
        os.rename(armed, f"{armed}.{os.getpid()}.taken")
    except OSError:
        return
    _note_hit(folder, name)
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(60)  # the signal is on its way


def _note_passage(folder: str, name: str) -> None:
    try:
        os.close(os.open(f"{folder}/{PASSED}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError as error:
        sys.stderr.write(f"The crash point {name} can't be noted: {error}\n")


def _note_hit(folder: str, name: str) -> None:
    line = json.dumps({"name": name, "pid": os.getpid(), "time": time.time()}) + "\n"
    descriptor = os.open(f"{folder}/{HITS}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
