# SPDX-License-Identifier: Apache-2.0
"""A Docker engine of the tests' own, below a temporary folder, and images made from what the machine has.

``SCALE_TEST_DOCKER_HOST`` names an engine to use instead. The engine has no network, so containers run with
``network_mode="none"``; it sees the same paths as the tests.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
from docker.errors import DockerException, NotFound

_START = 60.0
_BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")


class Engine:
    """A running engine; ``url`` is its address."""

    def __init__(self, url: str, folder: Path | None, driver: str | None, *, live_restore: bool = False):
        self.url, self.folder, self.driver, self.live_restore = url, folder, driver, live_restore
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> docker.APIClient:
        """A new client."""
        return docker.APIClient(base_url=self.url, version="auto", timeout=60)

    def start(self) -> None:
        """Start the engine (again), with what it had before.

        Containers outlive a stop only with ``live_restore``.
        """
        assert self.folder is not None
        assert self.driver is not None
        settings = {"live-restore": True} if self.live_restore else {}
        (self.folder / "settings.json").write_text(json.dumps(settings))  # not the machine's own
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    *("dockerd", "--host", self.url, "--pidfile", str(self.folder / "pid")),
                    *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
                    *("--storage-driver", self.driver, "--bridge=none", "--iptables=false"),
                    *("--ip6tables=false", "--config-file", str(self.folder / "settings.json")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _START
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                text = (self.folder / "log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"dockerd ({self.driver}) did not come up:\n{text[-4000:]}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the engine with a signal; SIGKILL also kills its containerd, but not the containers."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number == signal.SIGKILL and self.folder is not None:
                note = self.folder / "exec" / "containerd" / "containerd.pid"
                os.kill(int(note.read_text()), signal.SIGKILL)
                note.unlink()  # where nobody reaps it, it would count as alive
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def answers(self) -> bool:
        """Whether the engine answers."""
        # By hand, since the library leaves a socket open for each attempt that fails.
        scheme, _, place = self.url.partition("://")
        try:
            if scheme == "unix":
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.settimeout(5)
                    connection.connect(place)
                    connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                    return b"200" in connection.recv(64)
            client = self.client()
            try:
                return bool(client.ping())
            finally:
                client.close()
        except (DockerException, OSError):
            return False

    def busybox(self, name: str = "scale-busybox:1", *changes: str) -> str:
        """Make sure of an image with busybox; ``changes`` as in ``docker import --change``."""
        client = self.client()
        try:
            client.inspect_image(name)
        except NotFound:
            repository, _, tag = name.partition(":")
            client.import_image_from_data(
                busybox_tar(), repository=repository, tag=tag or "latest", changes=list(changes)
            )
        finally:
            client.close()
        return name


def busybox_tar() -> bytes:
    """A root file system with busybox, statically linked, and a link for each of its commands."""
    busybox = next((path for path in _BUSYBOX if os.access(path, os.X_OK)), None)
    if busybox is None:
        raise RuntimeError("There is no busybox here. Install Debian's busybox-static.")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "tmp", "etc", "root"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        tar.addfile(entry, io.BytesIO(users))
    return buffer.getvalue()


@contextmanager
def docker_engine(
    drivers: Sequence[str] = ("overlay2", "vfs"), *, live_restore: bool = False
) -> Iterator[Engine]:
    """Give a running engine: that of ``SCALE_TEST_DOCKER_HOST``, else one of our own with the first driver
    that works here.

    :param live_restore: let containers run on while our own engine is stopped.
    """
    given = os.environ.get("SCALE_TEST_DOCKER_HOST")
    if given:
        engine = Engine(given, None, None)
        if not engine.answers():
            raise RuntimeError(f"SCALE_TEST_DOCKER_HOST={given} does not answer.")
        yield engine
        return
    if shutil.which("dockerd") is None:
        raise RuntimeError(
            "There is no dockerd here. Install Debian's docker.io, or set SCALE_TEST_DOCKER_HOST."
        )
    # Short, because a socket's path has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="scale-d-", dir="/tmp"))
    try:
        engine = _first_that_works(folder, drivers, live_restore)
        try:
            yield engine
        finally:
            _remove_containers(engine)
            engine.stop()
    finally:
        _kill_below(folder)
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _first_that_works(folder: Path, drivers: Sequence[str], live_restore: bool) -> Engine:
    problems = []
    for driver in drivers:
        below = folder / driver
        below.mkdir()
        engine = Engine(f"unix://{below}/d.sock", below, driver, live_restore=live_restore)
        try:
            engine.start()
            return engine
        except RuntimeError as error:
            problems.append(str(error))
    raise RuntimeError("\n".join(problems))


def _remove_containers(engine: Engine) -> None:
    if not engine.answers():
        return
    client = engine.client()
    for container in client.containers(all=True):
        client.remove_container(container["Id"], force=True, v=True)
    client.close()


def _kill_below(folder: Path) -> None:
    """Kill what an engine that was killed has left: the parents of its containers, and these."""
    for entry in os.scandir("/proc"):
        try:
            words = Path(entry.path, "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and os.fsencode(folder) + b"/" in words and int(entry.name) != os.getpid():
            for thread in Path(entry.path, "task").glob("*/children"):
                for child in thread.read_text().split():
                    _kill(int(child))
            _kill(int(entry.name))


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _unmount_below(folder: Path) -> None:
    """Undo the mounts that an engine which was killed has left."""
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{folder}/")]
    for point in sorted(points, key=len, reverse=True):
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
