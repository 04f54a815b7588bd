# SPDX-License-Identifier: Apache-2.0
"""Commands and files on a running cluster, over SSH.

A command runs detached from the connection, its output in a file, so that it outlives a connection that
breaks and a worker that is killed: :meth:`ClusterShell.run` with the same ``name`` goes on with it. Whatever
runs keeps the cluster from taking itself for unused (:mod:`scale_airflow.rescale.clusters`).
"""

from __future__ import annotations

import asyncio
import glob
import logging
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scale_airflow.errors import (
    InstallationError,
    InvalidRequest,
    RescaleError,
    RescaleUnauthorized,
    RescaleUnreachable,
)

if TYPE_CHECKING:
    import asyncssh

USED_FILE = "$HOME/.airflow-cluster-used"
"""Touched by whatever uses a cluster; its age says for how long nobody did."""

_COMMANDS = "$HOME/.airflow-commands"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")
_ONE_LINE_KEY = re.compile(
    r"(?P<begin>-----BEGIN [A-Z ]+-----)(?P<body>[A-Za-z0-9+/= ]+)(?P<end>-----END [A-Z ]+-----)"
)
_CONNECT_TIMEOUT = 30.0
_ALIVE_EVERY = 15
_RECONNECTS = 5

# $1 name, $2 command. Only one that makes the directory starts the command. The second process group is the
# command's own, so that it can be ended with all that it has started.
_START = f"""
set -eu
d="{_COMMANDS}/$1"
mkdir -p "{_COMMANDS}"
touch "{USED_FILE}"
mkdir "$d" 2>/dev/null || exit 0
printf %s "$2" > "$d/command"
: > "$d/log"
setsid bash -c '
d="$1"
echo $$ > "$d/pid"
cd "$HOME/work" 2>/dev/null || cd "$HOME"
( while kill -0 $$ 2>/dev/null; do touch "{USED_FILE}"; sleep 5; done ) >/dev/null 2>&1 &
bash "$d/command" >> "$d/log" 2>&1
code=$?
kill $! 2>/dev/null
echo $code > "$d/exit.new"
mv "$d/exit.new" "$d/exit"
' command "$d" </dev/null >/dev/null 2>&1 &
"""

_ALIVE = """
alive() { kill -0 "$1" 2>/dev/null && ! grep -qs "^State:.*Z" "/proc/$1/status"; }
"""

# $1 name, $2 bytes of the log that are known. Prints the log from there until the command ends.
_FOLLOW = f"""{_ALIVE}
d="{_COMMANDS}/$1"
for i in $(seq 100); do [ -s "$d/pid" ] && break; sleep 0.1; done
p=$(cat "$d/pid" 2>/dev/null) || exit 0
known=$2
goes=1
while [ "$goes" = 1 ]; do
  [ ! -e "$d/exit" ] && alive "$p" || goes=0
  size=$(stat -c %s "$d/log")
  if [ "$size" -gt "$known" ]; then
    tail -c +$((known + 1)) "$d/log" | head -c $((size - known)) || exit 0
    known=$size
  elif [ "$goes" = 1 ]; then
    sleep 0.2
  fi
done
"""

# $1 name. Prints the exit code; 'runs', 'gone' (killed without an exit code) or 'lost' (not known here).
_OUTCOME = f"""{_ALIVE}
d="{_COMMANDS}/$1"
[ -d "$d" ] || {{ echo lost; exit 0; }}
if [ ! -e "$d/exit" ] && alive "$(cat "$d/pid" 2>/dev/null || echo none)"; then echo runs; exit 0; fi
cat "$d/exit" 2>/dev/null || echo gone
"""

# $1 name. A next command of this name is a new one.
_FORGET = f"""
touch "{USED_FILE}"
rm -rf "{_COMMANDS}/$1"
"""

# $1 name. Ends the command and all of its group, first asking.
_END = f"""
p=$(cat "{_COMMANDS}/$1/pid" 2>/dev/null) || exit 0
kill -TERM -- "-$p" 2>/dev/null
for i in $(seq 50); do kill -0 -- "-$p" 2>/dev/null || exit 0; sleep 0.1; done
kill -KILL -- "-$p" 2>/dev/null
exit 0
"""

T = TypeVar("T")


@dataclass(frozen=True)
class ShellAddress:
    """Where a cluster's head node is reached.

    :param host_key: its public key, as in a ``known_hosts`` file, when it is known; None trusts the node that
        answers, as a cluster is made for one job and publishes its key nowhere.
    """

    host: str
    port: int
    username: str
    host_key: str | None = None


@dataclass(frozen=True)
class PrivateKey:
    """The private key whose public part stands in the user's profile at Rescale."""

    path: Path | None = None
    text: str | None = None
    passphrase: str | None = None

    def __repr__(self) -> str:
        return f"PrivateKey(path={self.path})"

    def load(self) -> asyncssh.SSHKey:
        """Return the key.

        :raises InstallationError: if it can't be read; says what to do, never what is in it.
        """
        ssh = _asyncssh()
        remedy = (
            "Make a pair with `ssh-keygen -t ed25519 -f rescale-key`, put the public one into your Rescale "
            "profile (Job Settings) and name the private one in the connection's extra: ssh_key_file."
        )
        if self.path is None and self.text is None:
            raise InstallationError("There is no private SSH key for Rescale's clusters.", remedy)
        try:
            loaded: asyncssh.SSHKey
            if self.text is not None:
                loaded = ssh.import_private_key(_with_lines(self.text), self.passphrase)
            else:
                loaded = ssh.read_private_key(str(self.path), self.passphrase)
            return loaded
        except OSError as error:
            problem = f"The SSH key {self.path} can't be read: {error.strerror}."
            raise InstallationError(problem, remedy) from None
        except (ssh.KeyImportError, ssh.KeyEncryptionError) as error:
            raise InstallationError(f"The SSH key {self.path or ''} is of no use: {error}.", remedy) from None


def _with_lines(key: str) -> str:
    """Return a key with the line ends that a form's field has taken out of it."""
    found = _ONE_LINE_KEY.fullmatch(key.strip())
    if found is None:
        return key
    body = "".join(found["body"].split())
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([found["begin"], *lines, found["end"], ""])


class ClusterShell:
    """An SSH connection to the head node of a cluster; made by :func:`open_shell`."""

    def __init__(self, connection: asyncssh.SSHClientConnection, reconnect: Callable[[], Awaitable[Any]]):
        self._connection = connection
        self._reconnect = reconnect

    @property
    def host_key(self) -> str:
        """The public key of the node that answered."""
        key = self._connection.get_server_host_key()
        return "" if key is None else key.export_public_key("openssh").decode().strip()

    async def run(self, name: str, command: str, on_line: Callable[[str], None]) -> int:
        """Run a command in the job's work folder, or go on with it, and return its exit code.

        A broken connection is made again, without a line lost. The cluster remembers the command and how it
        ended until it is told to :meth:`forget` it: until then the same name tells the same end.

        :param name: of the command among those of the cluster; letters, digits, ``._-``.
        :param command: lines for bash.
        :param on_line: gets each line of what it prints, standard error among it.
        :raises RescaleUnreachable: if the cluster stays away.
        :raises RescaleError: if the command was killed there, or the cluster knows nothing of it.
        """
        if not _NAME.match(name):
            raise ValueError(f"{name!r} can't be the name of a command.")
        lines = _Lines(on_line)
        await self._surely(lambda: self._script(_START, name, command))
        while True:
            await self._surely(lambda: self._follow(name, lines))
            outcome = (await self._surely(lambda: self._script(_OUTCOME, name))).strip()
            if outcome != "runs":
                break
        lines.end()
        if not outcome.isdigit():
            await self.forget(name)
            what = (
                "was killed there" if outcome == "gone" else "is not known there; is this the same cluster?"
            )
            raise RescaleError(f"The command {name} on the cluster {what}")
        return int(outcome)

    async def forget(self, name: str) -> None:
        """Make room for a new command of this name; the old one must have ended."""
        await self._surely(lambda: self._script(_FORGET, name))

    async def end(self, name: str) -> None:
        """End a command with all that it has started; nothing happens if it does not run."""
        await self._surely(lambda: self._script(_END, name))

    async def put(self, sources: Sequence[Path], target: str) -> None:
        """Copy files and folders into a folder there, made if needed; a relative one is in the home.

        :raises InvalidRequest: naming every file that is not here.
        """
        missing = [str(each) for each in sources if not each.exists()]
        if missing:
            raise InvalidRequest(f"What is to be copied to the cluster is not here: {', '.join(missing)}.")
        await self._surely(lambda: self._put(sources, target))

    async def _put(self, sources: Sequence[Path], target: str) -> None:
        await self._script(f'touch "{USED_FILE}"; mkdir -p -- "$1"', target)
        # Paths, not texts: in a text a colon ends the name of a host.
        await _asyncssh().scp(
            [Path(glob.escape(str(each))) for each in sources],
            (self._connection, _quoted(target)),
            recurse=True,
            preserve=True,
        )

    async def get(self, sources: Sequence[str], target: Path) -> None:
        """Copy files and folders of the cluster into a folder here, made if needed.

        A file has its name only once it is whole.
        """
        target.mkdir(parents=True, exist_ok=True)
        await self._surely(lambda: self._get(sources, target))

    async def _get(self, sources: Sequence[str], target: Path) -> None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix=".arriving-", dir=target) as arriving:
            for source in sources:
                await _asyncssh().scp(
                    (self._connection, _quoted(source)), Path(arriving), recurse=True, preserve=True
                )
            _move_over(Path(arriving), target)

    async def _follow(self, name: str, lines: _Lines) -> None:
        command = _bash(_FOLLOW, name, str(lines.known))
        async with self._connection.create_process(command, encoding=None) as process:
            while block := await process.stdout.read(65536):
                lines.feed(block)

    async def _script(self, script: str, *arguments: str) -> str:
        done = await self._connection.run(_bash(script, *arguments), check=False)
        if done.exit_status is None:
            raise ConnectionError("no answer")
        if done.exit_status:
            told = str(done.stderr or done.stdout or "").strip()[-500:]
            raise RescaleError(f"The cluster refused a command (exit code {done.exit_status}): {told}")
        return str(done.stdout or "")

    async def _surely(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do something that may be done twice, over a new connection where the old one breaks."""
        ssh = _asyncssh()
        for left in range(_RECONNECTS, -1, -1):
            try:
                return await act()
            except (OSError, ssh.Error) as error:
                if not self._is_lost(error):
                    whose = "The cluster refused" if isinstance(error, ssh.Error) else "Copying failed"
                    raise RescaleError(f"{whose}: {_told(error)}") from None
                if not left:
                    raise RescaleUnreachable(f"The connection to the cluster broke: {error}") from None
            self._connection = await self._reconnect()
        raise AssertionError("unreachable")

    def _is_lost(self, error: Exception) -> bool:
        """Whether an error is that of a connection which is gone, so that a new one may do better."""
        return self._connection.is_closed() or (
            isinstance(error, _asyncssh().DisconnectError | ConnectionError | TimeoutError)
        )

    async def close(self) -> None:
        """Close the connection; what runs on the cluster runs on."""
        self._connection.close()
        await self._connection.wait_closed()


class _Lines:
    """Puts lines together from what arrives, and counts the bytes."""

    def __init__(self, on_line: Callable[[str], None]):
        self.known = 0
        self._on_line = on_line
        self._rest = b""

    def feed(self, block: bytes) -> None:
        self.known += len(block)
        *whole, self._rest = (self._rest + block).split(b"\n")
        for line in whole:
            self._on_line(line.decode("utf-8", "replace"))

    def end(self) -> None:
        if self._rest:
            self._on_line(self._rest.decode("utf-8", "replace"))
            self._rest = b""


@asynccontextmanager
async def open_shell(
    address: ShellAddress, key: PrivateKey, *, patience: float = 120.0
) -> AsyncIterator[ClusterShell]:
    """Connect to a cluster's head node.

    :param patience: seconds for which a node that does not listen yet is tried again.
    :raises RescaleUnauthorized: if it does not take the key, or is not the node that it was.
    :raises RescaleUnreachable: if it does not answer.
    :raises InstallationError: if the key can't be read, or asyncssh is not installed.
    """
    private = key.load()

    async def connect() -> asyncssh.SSHClientConnection:
        return await _connect(address, private, patience)

    shell = ClusterShell(await connect(), connect)
    try:
        yield shell
    finally:
        await shell.close()


async def _connect(
    address: ShellAddress, key: asyncssh.SSHKey, patience: float
) -> asyncssh.SSHClientConnection:
    ssh = _asyncssh()
    known: Any = None if address.host_key is None else ([ssh.import_public_key(address.host_key)], [], [])
    give_up = asyncio.get_running_loop().time() + patience
    where = f"{address.username}@{address.host}, port {address.port}"
    while True:
        try:
            connection: asyncssh.SSHClientConnection = await ssh.connect(
                address.host,
                address.port,
                username=address.username,
                client_keys=[key],
                agent_path=None,
                config=None,
                known_hosts=known,
                connect_timeout=_CONNECT_TIMEOUT,
                login_timeout=_CONNECT_TIMEOUT,
                keepalive_interval=_ALIVE_EVERY,
            )
            return connection
        except ssh.HostKeyNotVerifiable:
            raise RescaleUnauthorized(
                f"The host key of {where} is another than when the cluster was started."
            ) from None
        except ssh.PermissionDenied:
            raise RescaleUnauthorized(
                f"{where} does not take the SSH key. Is its public part in your Rescale profile, under Job "
                "Settings, since before the cluster was started?"
            ) from None
        except (OSError, ssh.DisconnectError, asyncio.TimeoutError) as error:
            if asyncio.get_running_loop().time() > give_up:
                raise RescaleUnreachable(f"{where} does not answer: {error}") from None
        await asyncio.sleep(2)


def exports(variables: Mapping[str, str]) -> str:
    """Return the lines that set environment variables for a command.

    :raises ValueError: for a name that bash does not take.
    """
    wrong = [name for name in variables if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]
    if wrong:
        raise ValueError(f"These can't be names of environment variables: {', '.join(map(repr, wrong))}.")
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _told(error: Exception) -> str:
    """Return an error's words; those of a file's error with the file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _quoted(path: str) -> str:
    """Return a path as the shell that starts the other side's scp reads it."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _bash(script: str, *arguments: str) -> str:
    return shlex.join(["bash", "-c", script, "cluster", *arguments])


def _move_over(arrived: Path, target: Path) -> None:
    """Move what arrived to its place, folder by folder, over what is there."""
    for each in sorted(arrived.iterdir()):
        place = target / each.name
        if each.is_dir() and place.is_dir():
            _move_over(each, place)
        else:
            each.replace(place)


def _asyncssh() -> Any:
    try:
        import asyncssh
    except ImportError:
        raise InstallationError(
            "Rescale's clusters are reached over SSH, and asyncssh is not installed.",
            "pip install 'scale-airflow[ssh]'",
        ) from None
    logger = logging.getLogger("asyncssh")
    if logger.level == logging.NOTSET:
        # It tells every step, and each command with the variables that it is given.
        logger.setLevel(logging.WARNING)
    return asyncssh
