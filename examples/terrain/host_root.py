# SPDX-License-Identifier: Apache-2.0
"""Collect a root file system for a container from this machine: its Python and some of its packages.

For machines that can't reach an image registry. The result is small because it takes only what is used:
the interpreter with its standard library, the packages asked for with what they require, the shared
libraries all of these load, and a shell.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from packaging.requirements import Requirement

SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3"}
)
SKIPPED_FILES = re.compile(r"_tkinter\.|EXTERNALLY-MANAGED$|\.opt-[12]\.pyc$|\.a$|\.pth$")
"""Windows, the mark that keeps pip away from a system's own Python, and what only costs space."""

ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}


class HostError(Exception):
    """This machine can't give a root file system; the message says what is missing and how to get it."""


@dataclass
class RootFileSystem:
    """Files, links and contents by their path in the container (relative to its root)."""

    files: dict[str, Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    search_path: list[str] = field(default_factory=list)
    """The folders of the container's PATH."""

    def add_path(self, path: Path) -> None:
        """Add a file at the path it has here, with every symbolic link on the way to it."""
        current = PurePosixPath("/")
        for part in PurePosixPath(os.path.normpath(path)).parts[1:]:
            step = Path(current / part)
            if step.is_symlink():
                target = os.readlink(step)
                self.links[_key(step)] = target
                self.add_path(Path(os.path.normpath(Path(current) / target)))
                current = PurePosixPath(os.path.realpath(step))
            else:
                current = current / part
        if Path(current).is_file():
            self.files[_key(current)] = Path(current)

    def digest(self) -> str:
        """Say what the root file system is made of, by names, sizes and times: equal means the same files."""
        facts: list[object] = [sorted(self.links.items()), self.search_path]
        for name, path in sorted(self.files.items()):
            status = path.stat()
            facts.append([name, status.st_size, status.st_mtime_ns, status.st_mode])
        facts.extend([name, hashlib.sha256(data).hexdigest()] for name, data in sorted(self.contents.items()))
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def write_tar(self, target: IO[bytes]) -> None:
        """Write it all as a tar: owned by root, readable for every user, with the files' own times.

        The times matter: Python's compiled modules are valid only for the time of their source.
        """
        with tarfile.open(fileobj=target, mode="w") as tar:
            for name in self._folders():
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name in ("tmp", "var/tmp") else 0o755
                tar.addfile(entry)
            for name, link in sorted(self.links.items()):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, link
                tar.addfile(entry)
            for name, path in sorted(self.files.items()):
                with path.open("rb") as source:
                    status = os.fstat(source.fileno())
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mtime = status.st_size, int(status.st_mtime)
                    entry.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
                    tar.addfile(entry, source)
            for name, data in sorted(self.contents.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))

    def _folders(self) -> list[str]:
        folders = {"tmp", "var", "var/tmp", "root", "run", "proc", "sys", "dev"}
        for name in (*self.files, *self.links, *self.contents):
            folders.update(str(parent) for parent in PurePosixPath(name).parents)
        return sorted(folders - {"."} - set(self.links))


def collect(packages: Iterable[str]) -> RootFileSystem:
    """Collect this interpreter, the named packages and their libraries.

    Raises:
        HostError: where the machine is no Linux, or something that is needed is not installed.
    """
    if not sys.platform.startswith("linux"):
        raise HostError("a container's root file system can only be taken from a Linux machine")
    root = RootFileSystem(contents=dict(ACCOUNTS))
    executable = Path(getattr(sys, "_base_executable", sys.executable))
    paths = _base_paths(executable)
    root.add_path(executable)
    root.links.setdefault("usr/local/bin/python3", str(executable))
    root.search_path = list(
        dict.fromkeys(
            [paths["scripts"], "/usr/local/bin", str(executable.parent), "/usr/bin", "/bin"],
        )
    )
    for library in sorted({paths["stdlib"], paths["platstdlib"]}):
        for path in _standard_library(Path(library)):
            root.add_path(path)
    _add_packages(root, packages, Path(paths["purelib"]))
    for tool in ("/bin/sh", "/usr/bin/env", "/etc/ld.so.cache"):
        if Path(tool).exists():
            root.add_path(Path(tool))
    _add_shared_libraries(root)
    return root


def _base_paths(executable: Path) -> dict[str, str]:
    """Ask the interpreter behind a virtual environment where it keeps its own things."""
    program = "import json, sysconfig; print(json.dumps(sysconfig.get_paths()))"
    answer = subprocess.run([executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    paths: dict[str, str] = json.loads(answer.stdout)
    return paths


def _standard_library(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_skipped_folder(name)]
        for name in files:
            if not SKIPPED_FILES.search(name):
                yield Path(parent, name)


def _is_skipped_folder(name: str) -> bool:
    return name in SKIPPED_FOLDERS or name.startswith("config-")


def _add_packages(root: RootFileSystem, names: Iterable[str], target: Path) -> None:
    """Add installed packages and what they require to the container's own ``site-packages``."""
    waiting, done = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name != "pip":
                raise HostError(
                    f"{name} is not installed in {sys.prefix}; get it with: pip install {name}"
                ) from None
            _add_bundled_pip(root, target)
            continue
        for file in package.files or ():
            path = Path(str(file.locate()))
            # Programs of the packages (../../../bin/…) have this environment's interpreter in them.
            if ".." in file.parts or "tests" in file.parts or SKIPPED_FILES.search(file.name):
                continue
            if path.is_file():
                root.files[_key(target / file)] = path
        for text in package.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


def _add_bundled_pip(root: RootFileSystem, target: Path) -> None:
    """Unpack the pip that comes with Python, for environments that were made without one."""
    import ensurepip

    folders = [Path(ensurepip.__file__).parent / "_bundled"]
    if system_wheels := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.append(Path(system_wheels))
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
    if not wheels:
        raise HostError(f"pip is not installed in {sys.prefix}; get it with: python -m ensurepip")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        for member in wheel.infolist():
            if not member.is_dir():
                root.contents[_key(target / member.filename)] = wheel.read(member)


def _add_shared_libraries(root: RootFileSystem) -> None:
    """Add what the interpreter, the shell and the compiled modules load.

    Libraries that a package brings along are already there; the package finds them beside itself.
    """
    binaries = [path for path in root.files.values() if _is_elf(path)]
    own = {os.path.realpath(path) for path in root.files.values()}
    answer = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
    found = set(re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", answer.stdout, re.MULTILINE))
    if not found:
        raise HostError("ldd names no library at all; is this a system with glibc?")
    for library in sorted(found):
        if os.path.realpath(library) not in own:
            root.add_path(Path(library))


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _key(path: PurePosixPath | Path) -> str:
    return str(path).lstrip("/")
