#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make ``.venv`` with the pinned packages and this checkout; do nothing when it is as it should be.

Runs under the machine's own Python, so it uses the standard library alone and stays readable to old ones.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(CHECKOUT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
LOWEST, HIGHEST = (3, 10), (3, 14)
# What decides how the checkout itself is installed: entry points, packages, programs.
BUILD_FILES = (
    "setup.cfg",
    "pyproject.toml",
    "requirements/install.py",
    "examples/terrain/pyproject.toml",
)


def fail(problem, remedy):
    """End with what is missing and how to get it."""
    sys.exit(f"\n{problem}\n{remedy}")


def check_python():
    """Refuse a Python that Airflow does not support, or one without the venv module."""
    found = sys.version_info[:2]
    if not LOWEST <= found <= HIGHEST:
        fail(
            f"Python {found[0]}.{found[1]} ({sys.executable}) won't do: Airflow 3.3 supports 3.10 to 3.14.",
            "Install one of these and name it: make PYTHON=/path/to/python3.12 demo",
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        fail(
            f"{sys.executable} has no module venv or ensurepip.",
            "On Debian or Ubuntu: apt-get install python3-venv",
        )


def wanted(pins):
    """Return the digest of everything that the environment is made from."""
    digest = hashlib.sha256(sys.version.encode())
    for name in (f"requirements/{pins}.txt", *BUILD_FILES):
        path = os.path.join(CHECKOUT, *name.split("/"))
        with open(path, "rb") as file:
            digest.update(name.encode() + b"\0" + file.read())
    digest.update(CHECKOUT.encode())
    return digest.hexdigest()


def stamp_path(pins):
    """Return the file that says what the environment was made from."""
    return os.path.join(VENV, f"pins-{pins}.sha256")


def is_made(pins, digest):
    """Say whether the environment was made from exactly this, and its Python still starts."""
    try:
        with open(stamp_path(pins)) as file:
            if file.read().strip() != digest:
                return False
        return subprocess.call([VENV_PYTHON, "-c", ""]) == 0
    except OSError:
        return False


def same_python():
    """Say whether an existing environment runs on this very Python."""
    try:
        found = subprocess.check_output([VENV_PYTHON, "-c", "import sys; print(sys.version)"])
    except (OSError, subprocess.CalledProcessError):
        return False
    return found.decode().strip() == sys.version.strip()


def pip(what, *arguments):
    """Run pip as the machine has configured it, without a word unless it fails."""
    print(f"  {what}", flush=True)
    command = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]
    code = subprocess.call([*command, *arguments])
    if code:
        fail(
            f"pip could not install {what} (above is why).",
            "The packages come from the index that pip is configured for: `pip config list` shows it. "
            "Once it can be reached, run make again; what is installed already stays.",
        )


def make(pins):
    """Make the environment: the pins, this checkout, the example's algorithms."""
    if not same_python():
        shutil.rmtree(VENV, ignore_errors=True)
        print(f"  a virtual environment on Python {sys.version.split()[0]}", flush=True)
        subprocess.check_call([sys.executable, "-m", "venv", VENV])
    for old in ("demo", "test"):
        if os.path.exists(stamp_path(old)):
            os.remove(stamp_path(old))
    pip(f"the packages of requirements/{pins}.txt", "--requirement", f"requirements/{pins}.txt")
    pip(
        "this checkout and the example's algorithms",
        "--no-deps",
        "--no-build-isolation",
        "--editable",
        ".",
        "--editable",
        "examples/terrain",
    )


def main():
    """Run the command line: the name of the pins, ``demo`` or ``test`` (the larger one)."""
    pins = sys.argv[1]
    check_python()
    script = os.path.abspath(__file__)
    os.chdir(CHECKOUT)
    # Two `make demo` side by side build one environment.
    with open(script) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digests = {name: wanted(name) for name in ("demo", "test")}
        if is_made("test", digests["test"]) or is_made(pins, digests[pins]):
            return
        print("Installing into .venv (once; some minutes):", flush=True)
        make(pins)
        with open(stamp_path(pins), "w") as file:
            file.write(digests[pins] + "\n")


if __name__ == "__main__":
    main()
