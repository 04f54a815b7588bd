# SPDX-License-Identifier: Apache-2.0
"""A cluster's head node: a real SSH server in this process whose home folder is a temporary one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh


@dataclass
class Node:
    """The server, and what a test does with it."""

    home: Path
    key: asyncssh.SSHKey
    port: int = 0
    host_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    acceptor: asyncssh.SSHAcceptor | None = None

    async def listen(self) -> None:
        node = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                node.connections.append(conn)

        self.acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=Server,
            server_host_keys=[self.host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(self.key.export_public_key().decode()),
            process_factory=self.handle,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(self.home)),
            allow_scp=True,
            encoding=None,
        )
        self.port = self.acceptor.get_port()

    async def handle(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        child = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            process.command or "exit 0",
            cwd=self.home,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while block := await child.stdout.read(65536):  # type: ignore[union-attr]
                process.stdout.write(block)
                await process.stdout.drain()
            process.exit(await child.wait())
        except (OSError, asyncssh.Error):
            process.close()
        finally:
            try:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
            finally:
                # Its pipe too, which else would be open still when the loop is closed.
                child._transport.close()  # type: ignore[attr-defined]

    def cut(self) -> None:
        """Break every connection."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()

    async def close(self) -> None:
        self.cut()
        if self.acceptor is not None:
            self.acceptor.close()
            await self.acceptor.wait_closed()


@asynccontextmanager
async def running_node(folder: Path) -> AsyncIterator[Node]:
    home = folder / "home of the node"
    (home / "work").mkdir(parents=True)
    node = Node(home, asyncssh.generate_private_key("ssh-ed25519"))
    await node.listen()
    try:
        yield node
    finally:
        await node.close()
