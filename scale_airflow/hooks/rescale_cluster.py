# SPDX-License-Identifier: Apache-2.0
"""RescaleClusterHook: commands and files on a running Rescale cluster, from any task.

The connection's extra field names the private SSH key: ``ssh_key_file`` (a path on the worker) or
``ssh_private_key`` (the key itself), with ``ssh_passphrase`` if it has one.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scale_airflow.errors import RescaleError
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.rescale.clusters import head_node
from scale_airflow.rescale.endpoints import list_instances
from scale_airflow.rescale.shell import ClusterShell, PrivateKey, ShellAddress, exports, open_shell

if TYPE_CHECKING:
    from airflow.sdk import Connection

T = TypeVar("T")
WORK_FOLDER = "work"
_KEPT_LINES = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClusterAddress:
    """A cluster as tasks hand it on.

    :param host_key: of its head node as the task that started it has met it; "" if nobody knows.
    """

    job_id: str
    host_key: str = ""

    @classmethod
    def of(cls, document: object) -> ClusterAddress:
        """Read a job's id, or the XCom of the task that started the cluster.

        :raises ValueError: if it is neither.
        """
        if isinstance(document, Mapping):
            job_id, host_key = document.get("job_id"), document.get("host_key") or ""
        else:
            job_id, host_key = document, ""
        if not isinstance(job_id, str) or not job_id or not isinstance(host_key, str):
            raise ValueError(
                "A cluster is named by its job's id, or by the result of RescaleStartClusterOperator; "
                f"{document!r:.80} is neither."
            )
        return cls(job_id, host_key)


@dataclass(frozen=True)
class CommandResult:
    """What came of a command.

    :param last_lines: the end of what it printed.
    """

    exit_code: int
    last_lines: tuple[str, ...] = ()


class RescaleClusterHook:
    """Runs commands on a cluster and copies files, for tasks that are not operators of their own.

    :param cluster: the job's id, or the XCom of ``RescaleStartClusterOperator``.
    :param rescale_conn_id: connection of the type ``rescale``.
    """

    def __init__(
        self, cluster: str | Mapping[str, Any], rescale_conn_id: str = RescaleHook.default_conn_name
    ):
        self.address = ClusterAddress.of(cluster)
        self.rescale_conn_id = rescale_conn_id

    def run(
        self,
        command: str,
        *,
        name: str = "command",
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] = log.info,
    ) -> CommandResult:
        """Run a command in the job's work folder, and wait for its end.

        It survives a broken connection, and whoever calls again with its ``name`` goes on with it.

        :param command: lines for bash.
        :param on_line: gets each line that it prints.
        :raises RescaleError: if the cluster can't be reached, or the command was killed there.
        """

        async def act(shell: ClusterShell) -> CommandResult:
            result = await run_command(shell, name, command, environment or {}, on_line)
            await shell.forget(name)
            return result

        return self._with_shell(act)

    def forget(self, name: str) -> None:
        """Make room for a new command of a name; the old one must have ended."""
        self._with_shell(lambda shell: shell.forget(name))

    def end(self, name: str) -> None:
        """End a command with all that it has started."""
        self._with_shell(lambda shell: shell.end(name))

    def put(self, sources: Sequence[str | Path], folder: str = ".") -> None:
        """Copy files and folders from here into a folder of the work folder."""
        self._with_shell(lambda shell: shell.put([Path(each) for each in sources], remote_path(folder)))

    def get(self, sources: Sequence[str], folder: str | Path) -> None:
        """Copy files and folders of the work folder into a folder here."""
        self._with_shell(lambda shell: shell.get([remote_path(each) for each in sources], Path(folder)))

    def host_key(self) -> str:
        """Return the public key of the cluster's head node, which tells it from any other."""

        async def act(shell: ClusterShell) -> str:
            return shell.host_key

        return self._with_shell(act)

    def _with_shell(self, act: Callable[[ClusterShell], Coroutine[Any, Any, T]]) -> T:
        async def go() -> T:
            async with cluster_shell(self.address, self.rescale_conn_id) as shell:
                return await act(shell)

        return asyncio.run(go())


@asynccontextmanager
async def cluster_shell(address: ClusterAddress, rescale_conn_id: str) -> AsyncIterator[ClusterShell]:
    """Connect to a cluster's head node with the SSH key of the connection.

    :raises RescaleError: if the job has no machine that can be reached.
    """
    hook = RescaleHook(rescale_conn_id)
    key = private_key_of(await hook.aget_connection(rescale_conn_id))
    async with await hook.async_client() as client:
        node = head_node(await client.all(list_instances(address.job_id)))
    if node is None:
        raise RescaleError(
            f"Job {address.job_id} has no machine that can be reached; is its cluster up?",
            job_id=address.job_id,
        )
    place = ShellAddress(node.public_ip, node.ssh_port, node.username, address.host_key or None)
    async with open_shell(place, key) as shell:
        yield shell


async def run_command(
    shell: ClusterShell,
    name: str,
    command: str,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
) -> CommandResult:
    """Run a command to its end, keeping its last lines."""
    last: deque[str] = deque(maxlen=_KEPT_LINES)

    def tell(line: str) -> None:
        last.append(line)
        on_line(line)

    code = await shell.run(name, exports(environment) + command, tell)
    return CommandResult(code, tuple(last))


def private_key_of(connection: Connection) -> PrivateKey:
    """Return the SSH key that a connection names; it is read when it is needed."""
    extra = connection.extra_dejson
    path = extra.get("ssh_key_file")
    return PrivateKey(
        Path(path).expanduser() if path else None,
        extra.get("ssh_private_key") or None,
        extra.get("ssh_passphrase") or None,
    )


def remote_path(path: str) -> str:
    """Return a path of the work folder as seen from the home folder; an absolute one stays."""
    return posixpath.normpath(posixpath.join(WORK_FOLDER, path))
