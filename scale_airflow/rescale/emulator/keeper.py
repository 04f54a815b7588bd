# SPDX-License-Identifier: Apache-2.0
"""The head node of a run: runs its commands one after the other, whether the emulator lives or not.

Run as a script by an isolated interpreter, with the path of its order (JSON, written by ``runner.py``) as its
only argument; it imports nothing of this package. It says who it is in ``keeper.json`` before it starts a
command, and how the run ended in ``result.json`` when no process of the run is left, both next to its order.

SIGTERM asks it to stop the run (the command gets SIGTERM, and SIGKILL after ``stop_grace`` seconds), SIGUSR1
does so with ``force_grace``. So does the end of an analysis' walltime. When there has been no emulator for
``abandon_after`` seconds, it kills the run.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    from typing import Any

MARKER = "RESCALE_EMULATOR_RUN"
"""Environment variable of every process of a run and of its keeper: the run's place below ``<root>/work``."""
_SET_CHILD_SUBREAPER = 36
_LOOK = 2.0
_DRAIN = 2.0


def main(order_path: str) -> None:
    """Run one run to its end."""
    with open(order_path, encoding="utf-8") as file:
        order = json.load(file)
    place = os.path.dirname(order_path)
    # Orphans of the run become our children, however they daemonize.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.chdir(order["work"])
    keeper = Keeper(order)
    # In this order, and the other way round in runner.py: no wish to stop is overlooked.
    write(os.path.join(place, "keeper.json"), {"pid": os.getpid(), "started": started_ticks(os.getpid())})
    keeper.look_for_stop(f"{place}.stop")
    began = time.time()
    exit_code = keeper.run()
    ended = time.time()
    if not keeper.has_emulator():
        kill_visitors()
    keeper.log.note(f"Exited with code {exit_code}")
    keeper.log.note(f"Run ended ({keeper.ended_by or 'command'}) after {ended - began:.1f} s")
    write(
        os.path.join(place, "result.json"),
        {
            "exit_code": exit_code,
            "ended_by": keeper.ended_by or "command",
            "started": began,
            "ended": ended,
        },
    )


def write(path: str, document: dict[str, Any]) -> None:
    """Write a JSON file that is there whole or not at all."""
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(document, file)
    os.replace(f"{path}.part", path)


def started_ticks(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot), None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


class Log:
    """``process_output.log``: what the commands write, each line with the time at which it began."""

    def __init__(self, path: str):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._open_line = False

    def add(self, data: bytes) -> None:
        """Add what a command wrote, which need not be whole lines."""
        prefix = time.strftime("[%Y-%m-%dT%H:%M:%SZ]: ", time.gmtime()).encode()
        marked = data[:-1].replace(b"\n", b"\n" + prefix) + data[-1:]
        self._write(marked if self._open_line else prefix + marked)
        self._open_line = not data.endswith(b"\n")

    def note(self, text: str) -> None:
        """Add a line of our own."""
        if self._open_line:
            self._write(b"\n")
            self._open_line = False
        self.add(text.encode() + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            return  # a full disk: the run goes on without its log


class Keeper:
    """Runs the commands of an order and watches what may end them."""

    def __init__(self, order: dict[str, Any]):
        self.log = Log(order["log"])
        self.ended_by = ""
        self._order = order
        self._wanted = ""
        self._kill_at: float | None = None
        self._alone_since: float | None = None
        self._looked = 0.0
        # Whether there is an emulator is looked at so often: hundreds of keepers may do so.
        self._look: float = min(_LOOK, order["abandon_after"] / 5)
        self._wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._want("stop"))
        signal.signal(signal.SIGUSR1, lambda *_: self._want("force"))

    def look_for_stop(self, path: str) -> None:
        """Heed a stop that was asked for before we could be told."""
        try:
            with open(path, encoding="utf-8") as file:
                self._want(file.read().strip())
        except FileNotFoundError:
            return

    def run(self) -> int:
        """Run all analyses; return the first exit code that is not 0."""
        for analysis in self._order["analyses"]:
            deadline = None
            if analysis["walltime"] is not None:
                deadline = time.monotonic() + analysis["walltime"]
            for command in analysis["commands"]:
                exit_code = self._command(command, analysis["environment"], deadline)
                if self.ended_by or exit_code:
                    return exit_code
        return 0

    def _want(self, how: str) -> None:
        if self._wanted != "force":
            self._wanted = how

    def _command(self, command: str, environment: dict[str, str], deadline: float | None) -> int:
        if self._wanted:
            self.ended_by = self._wanted
            return 128 + signal.SIGTERM
        output, given = os.pipe2(os.O_CLOEXEC)
        try:
            child = os.posix_spawn(
                self._order["shell"],
                ["bash", "-c", command],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, given, 1),
                    (os.POSIX_SPAWN_DUP2, given, 2),
                ],
                setsid=True,
                setsigdef=[signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE],
            )
        except (OSError, ValueError) as error:  # too long, or with what no environment may have
            self.log.note(f"The command can't be started: {error}.")
            os.close(output)
            return 126
        finally:
            os.close(given)
        status = self._watch(child, output, deadline)
        kill_descendants()
        self._drain(output)
        return 128 - status if status < 0 else status

    def _watch(self, child: int, output: int, deadline: float | None) -> int:
        """Copy output until the command ends; return its status (-n for signal n)."""
        watched = [output, self._wake]
        while True:
            readable, _, _ = select.select(watched, [], [], self._patience(deadline))
            if self._wake in readable:
                os.read(self._wake, 4096)
            if output in readable:
                data = os.read(output, 65536)
                if data:
                    self.log.add(data)
                else:
                    watched = [self._wake]  # it closed its output, but may run on
            status = reaped(child)
            if status is not None:
                return status
            self._end_if_due(child, deadline)

    def _patience(self, deadline: float | None) -> float:
        due = [at for at in (deadline, self._kill_at) if at is not None]
        return max(0.0, min([self._look, *(at - time.monotonic() for at in due)]))

    def _end_if_due(self, child: int, deadline: float | None) -> None:
        now = time.monotonic()
        if not self.ended_by:
            if self._wanted:
                self.ended_by = self._wanted
            elif deadline is not None and now >= deadline:
                self.ended_by = "walltime"
            elif self._abandoned(now):
                self.ended_by = "abandoned"
            if self.ended_by:
                self._kill_at = now + self._order["stop_grace"]
                send(-child, signal.SIGTERM)
        if self._kill_at is not None and (self._wanted == "force" or self.ended_by == "abandoned"):
            self._kill_at = min(self._kill_at, now + self._order["force_grace"])
        if self._kill_at is not None and now >= self._kill_at:
            for process in descendants():
                send(process, signal.SIGKILL)

    def _abandoned(self, now: float) -> bool:
        """Tell whether there has been no emulator for too long; looks now and then."""
        if now - self._looked < self._look:
            return False
        self._looked = now
        if self.has_emulator():
            self._alone_since = None
            return False
        self._alone_since = self._alone_since or now
        return now - self._alone_since >= float(self._order["abandon_after"])

    def has_emulator(self) -> bool:
        """Tell whether the emulator of this directory runs."""
        try:
            with open(self._order["emulator"], encoding="utf-8") as file:
                emulator = json.load(file)
        except (OSError, ValueError):
            return False  # its directory was removed
        return bool(started_ticks(emulator["pid"]) == emulator["started"])

    def _drain(self, output: int) -> None:
        """Take what is still in the pipe, whose writers are dead."""
        until = time.monotonic() + _DRAIN
        while time.monotonic() < until and select.select([output], [], [], _DRAIN)[0]:
            data = os.read(output, 65536)
            if not data:
                break
            self.log.add(data)
        os.close(output)


def reaped(child: int) -> int | None:
    """Take note of all children that ended; return the status of this one if it is among them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == child:
            found = os.waitstatus_to_exitcode(status)


def kill_descendants() -> None:
    """Kill all that descends from us; those that fork meanwhile are met in the next round."""
    while True:
        for process in descendants():
            send(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def kill_visitors() -> None:
    """Kill what runs here without being ours: SSH sessions, which an emulator that is gone has left."""
    mark = f"{MARKER}={os.environ.get(MARKER)}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue


def descendants() -> list[int]:
    """Return all processes below this one."""
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
                with open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as children:
                    below = [int(child) for child in children.read().split()]
            except OSError:
                continue
            found.extend(below)
            waiting.extend(below)
    return found


def send(process: int, number: int) -> None:
    """Send a signal; nothing happens when the process is gone."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main(sys.argv[1])
