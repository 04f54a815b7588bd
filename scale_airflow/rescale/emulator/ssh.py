# SPDX-License-Identifier: Apache-2.0
"""The SSH side of started clusters: commands, SCP and SFTP in the home of a job's run.

One server serves all jobs: the user name says which. There is no pseudo-terminal, and no forwarding.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import signal
from collections.abc import Callable
from pathlib import Path

import asyncssh

from scale_airflow.rescale.emulator.staging import Place
from scale_airflow.rescale.emulator.work import USER_PREFIX

_READ = 2**16
_HANGUP_PATIENCE = 2.0

Environment = Callable[[Place], dict[str, str]]


class SshServer:
    """Listens on a free port of the loopback interface for the users of started clusters.

    :param host_key: where the host's key is kept, so that clients meet the same host again.
    :param authorized_keys: public keys that may log in, one a line; read anew for each login. None: nobody.
    :param place_of: a job's id → where its first run lives; None while it has no started cluster.
    :param environment: what a session's commands find in their environment.
    """

    def __init__(
        self,
        host_key: Path,
        authorized_keys: Path | None,
        place_of: Callable[[str], Place | None],
        environment: Environment,
    ) -> None:
        self._host_key = host_key
        self._authorized_keys = authorized_keys
        self._place_of = place_of
        self._environment = environment
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: dict[str, set[asyncssh.SSHServerConnection]] = {}
        self.port = 0

    async def start(self) -> None:
        """Listen; the port is :attr:`port`."""
        if not self._host_key.exists():
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(self._host_key))
            self._host_key.chmod(0o600)
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Login(self),
            server_host_keys=[str(self._host_key)],
            process_factory=self._session,
            sftp_factory=self._files,
            allow_scp=True,
            encoding=None,
            config=None,
            agent_forwarding=False,
            line_editor=False,
        )
        self.port = self._acceptor.get_port()

    async def close(self) -> None:
        """End all sessions and listen no more."""
        for job_id in list(self._connections):
            self.disconnect(job_id)
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

    def disconnect(self, job_id: str) -> None:
        """End the sessions of a cluster that stops."""
        for connection in self._connections.pop(job_id, set()):
            connection.abort()

    def is_known(self, username: str) -> bool:
        """Tell whether a user's cluster is up."""
        return self._place(username) is not None

    def is_authorized(self, key: asyncssh.SSHKey) -> bool:
        """Tell whether a key is among the authorized ones at this moment."""
        try:
            text = self._authorized_keys.read_text("utf-8", "replace") if self._authorized_keys else ""
        except OSError:
            return False
        for line in text.splitlines():
            with contextlib.suppress(asyncssh.KeyImportError):
                if line.strip() and asyncssh.import_public_key(line.strip()) == key:
                    return True
        return False

    def add(self, username: str, connection: asyncssh.SSHServerConnection) -> None:
        """Remember a connection until its cluster stops."""
        self._connections.setdefault(username.removeprefix(USER_PREFIX), set()).add(connection)

    def remove(self, username: str, connection: asyncssh.SSHServerConnection) -> None:
        """Forget a connection that ended."""
        self._connections.get(username.removeprefix(USER_PREFIX), set()).discard(connection)

    def _place(self, username: str) -> Place | None:
        if not username.startswith(USER_PREFIX):
            return None
        return self._place_of(username.removeprefix(USER_PREFIX))

    def _files(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        place = self._place(channel.get_connection().get_extra_info("username"))
        if place is None:
            raise asyncssh.SFTPConnectionLost("The cluster is stopped.")
        return _HomeFiles(channel, place.home)

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        place = self._place(process.get_extra_info("username"))
        if place is None:
            process.stderr.write(b"The cluster is stopped.\n")
            process.exit(1)
            return
        environment = self._environment(place)
        arguments = ["-c", process.command] if process.command else []
        child = await asyncio.create_subprocess_exec(
            environment["SHELL"],
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=place.home,
            env=environment,
            start_new_session=True,
        )
        feeding = asyncio.create_task(_feed(process, child))
        try:
            await asyncio.gather(
                _copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr), child.wait()
            )
            code = child.returncode or 0
            if code < 0:
                process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
            else:
                process.exit(code)
        except (OSError, asyncssh.Error):
            process.close()  # the client is gone; the finally below ends what it had started
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
            await _hang_up(child)


class _Login(asyncssh.SSHServer):
    """Lets in whoever has an authorized key and names a started cluster."""

    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._username = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._server.remove(self._username, self._connection)

    def begin_auth(self, username: str) -> bool:
        self._username = username
        return True

    def auth_completed(self) -> None:
        if self._connection is not None:
            self._server.add(self._username, self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._server.is_known(username) and self._server.is_authorized(key)


class _HomeFiles(asyncssh.SFTPServer):
    """A home's files: relative paths begin there, absolute ones must lie in it."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], home: Path) -> None:
        super().__init__(channel)
        self._home = os.fsencode(home.resolve())

    def map_path(self, path: bytes) -> bytes:
        mapped = posixpath.normpath(posixpath.join(self._home, path))
        # An attached storage device is a link in the home that leads elsewhere, so links are followed.
        if mapped != self._home and not mapped.startswith(self._home + b"/"):
            raise asyncssh.SFTPPermissionDenied("Only the home directory of the cluster is open.")
        return mapped


async def _copy(source: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
    while source is not None and (data := await source.read(_READ)):
        target.write(data)
        await target.drain()


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Copy the client's input, and pass its signals on."""
    if child.stdin is None:
        return
    with contextlib.suppress(OSError, asyncssh.Error):
        while True:
            try:
                data = await process.stdin.read(_READ)
            except asyncssh.SignalReceived as told:
                number = getattr(signal, f"SIG{told.signal}", signal.SIGTERM)
                os.killpg(child.pid, number)
                continue
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                break
            child.stdin.write(data)
            await child.stdin.drain()
    child.stdin.close()


async def _hang_up(child: asyncio.subprocess.Process) -> None:
    """End a session's command whose client is gone, as sshd does; nothing happens when it has ended."""
    if child.returncode is not None:
        return
    for number in (signal.SIGHUP, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(child.wait(), _HANGUP_PATIENCE)
            return
