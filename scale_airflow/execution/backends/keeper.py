# SPDX-License-Identifier: Apache-2.0
"""The small parent of a process job: it ends every process of the job when the job or the worker ends.

Run by an isolated interpreter (see :data:`BOOT`); it imports nothing but the standard library, and of that
only what loads at once, since its start is most of what a short job costs. Its last arguments are two
descriptors, ``control`` and ``status``. It reads its order from ``control`` (eight digits for the length,
then argv, environment, directory and memory limit, marshalled), starts the job in a session of its own, and
then watches: a byte or the end of ``control`` (the worker wants it, or died), SIGTERM, or too much memory
kill the job; the end of the job's main process kills what it has left behind. The result goes as a line of
numbers to ``status``: exit code, whether it took too much memory, when it started and when it ended (seconds
of the epoch).
"""

from __future__ import annotations

import marshal
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    import signal
    from typing import Any

    _ctypes: Any
else:
    # What signal and ctypes are made of: they add classes that nothing here needs, for half of the start.
    import _ctypes
    import _signal as signal

BOOT = """\
import marshal, os, sys
file = int(sys.argv[2])
code = os.pread(file, 1 << 20, 0)
os.close(file)
exec(marshal.loads(code))
"""
"""Runs this from its compiled code in an open file. Arguments are the path of this file, by which people and
``processes.py`` know it, the descriptor of that file, and those above."""

_LOOK = 0.5
_RESET = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run one job to its end."""
    control, status_pipe = map(int, sys.argv[-2:])
    os.set_inheritable(control, False)
    os.set_inheritable(status_pipe, False)
    # Orphans of the job become our children, however they daemonize.
    _prctl(_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: told.append(number))
    order = _read_order(control)
    started = time.time()
    job = _start(order)
    _drop_output()
    status, out_of_memory = _watch(job, order["memory_bytes"], control, wake, told)
    finished = time.time()
    _kill_descendants()
    exit_code = 128 - status if status < 0 else status
    try:
        os.write(status_pipe, f"{exit_code} {out_of_memory:d} {started!r} {finished!r}\n".encode())
    except OSError:
        sys.exit(1)  # the worker is gone: nobody asks


def _prctl(option: int, value: int) -> None:
    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
    _ctypes.call_function(prctl, (option, int(value), 0, 0, 0))


def _read_order(control: int) -> dict[str, Any]:
    order: dict[str, Any] = marshal.loads(_read(control, int(_read(control, 8))))  # noqa: S302 - our parent's
    return order


def _read(control: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        block = os.read(control, size - len(data))
        if not block:
            sys.exit(1)
        data += block
    return data


def _start(order: dict[str, Any]) -> int:
    job = os.fork()
    if job:
        return job
    try:
        os.setsid()
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(order["directory"])
        _execute(order["argv"], order["environment"])
    except BaseException as error:
        os.write(2, f"[scale] The job can't be started: {error!r}\n".encode())
    os._exit(126)


def _execute(argv: list[str], environment: dict[str, str]) -> None:
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is wanted
    except (FileNotFoundError, NotADirectoryError):
        os.write(2, f"[scale] The command {argv[0]!r} is not found.\n".encode())
        os._exit(127)
    except OSError as error:
        os.write(2, f"[scale] The command {argv[0]!r} can't be run: {error.strerror}.\n".encode())
        os._exit(126)


def _drop_output() -> None:
    """Leave the job's output to the job: its readers see the end when no process of it is left."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


def _watch(job: int, memory_bytes: int, control: int, wake: int, told: list[int]) -> tuple[int, bool]:
    """Wait for the job's main process; return its status (-n for signal n), and if memory was the reason."""
    out_of_memory = killed = False
    watched = [control, wake]
    while True:
        readable, _, _ = select.select(watched, [], [], _LOOK)
        if wake in readable:
            os.read(wake, 4096)
        if control in readable or told:
            killed = True
            watched = [wake]
        elif memory_bytes and _memory(_descendants()) > memory_bytes:
            out_of_memory = True
        if killed or out_of_memory:
            _kill_descendants(reap=False)
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return -signal.SIGKILL, out_of_memory
            if child == job:
                return os.waitstatus_to_exitcode(status), out_of_memory
            if child == 0:
                break


def _kill_descendants(*, reap: bool = True) -> None:
    """Kill all that descends from us; those that fork meanwhile are met in the next round."""
    while True:
        for process in _descendants():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not reap:
            return
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _descendants() -> list[int]:
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        process = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{process}/task/{thread}/children") as children:
                    below = [int(child) for child in children.read().split()]
            except OSError:
                continue
            found.extend(below)
            waiting.extend(below)
    return found


def _memory(processes: list[int]) -> int:
    """Return the bytes of memory that the processes have for themselves, files of the disk not counted."""
    total = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/statm") as statm:
                _, resident, shared, *_ = statm.read().split()
        except (OSError, ValueError):
            continue
        total += (int(resident) - int(shared)) * _PAGE
    return total


if __name__ == "__main__":
    main()
