# SPDX-License-Identifier: Apache-2.0
"""Install what the tests need of the machine, where that can be done; say what is missing where it can't.

Debian and Ubuntu, as root or with sudo: by apt-get. Anywhere else this prints what to install, and the tests
that need it fail by name, unless they are left out (``make test WITHOUT=docker,browser``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


@dataclass(frozen=True)
class Part:
    """Something that some tests need: programs, and the Debian packages that bring them."""

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]
    advice: str

    def missing(self) -> list[str]:
        """Return the programs that this machine lacks."""
        return [program for program in self.programs if shutil.which(program, path=SYSTEM_PATH) is None]


PARTS = (
    Part(
        "docker",
        ("dockerd", "busybox"),
        ("docker.io", "busybox-static"),
        "Docker's engine (dockerd) and a static busybox, or SCALE_TEST_DOCKER_HOST set to a running engine",
    ),
    Part(
        "browser",
        ("chromium", "chromedriver"),
        ("chromium", "chromium-driver"),
        "Chromium and ChromeDriver, as `chromium` and `chromedriver` on the PATH",
    ),
)


def wanted() -> list[Part]:
    """Return the parts that are neither left out nor there already."""
    without = os.environ.get("WITHOUT", "").split(",")
    parts = [part for part in PARTS if part.name not in without and part.missing()]
    if os.environ.get("SCALE_TEST_DOCKER_HOST"):
        parts = [part for part in parts if part.name != "docker"]
    return parts


def apt_get() -> list[str] | None:
    """Return how packages are installed here without a question, or None if they can't be."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return ["apt-get"]
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0:
        return ["sudo", "-n", "apt-get"]
    return None


def install(command: list[str], packages: list[str]) -> bool:
    """Install packages; say whether that worked."""
    print(f"Installing {', '.join(packages)} (as the tests need them)", flush=True)
    # In runlevel 1 Debian's packages start no service; the tests start an engine of their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    options = ["-qq", "-y", "-o", "Dpkg::Use-Pty=0"]
    for arguments in (["update", "-qq"], ["install", *options, "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*command, *arguments],
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    return done.returncode == 0


def main() -> int:
    """Install what is missing; never fail: the tests that can't run say so by name."""
    parts = wanted()
    if not parts:
        return 0
    command = apt_get()
    if command is not None:
        install(command, [package for part in parts for package in part.packages])
    for part in parts:
        if part.missing():
            print(
                f"Missing for the tests of {part.name}: {part.advice} "
                f"(Debian, Ubuntu: apt-get install {' '.join(part.packages)}). "
                f"They will fail; leave them out with WITHOUT={part.name}.",
                file=sys.stderr,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
