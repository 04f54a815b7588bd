# SPDX-License-Identifier: Apache-2.0
"""What `make test` runs: every test, in two halves side by side, since each waits for much of its time.

Whole installations are one half, all else the other; they share no state, no port and no engine. With a path
among the arguments, or on one processor, pytest runs alone, as ever.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HALVES = (("tests/unit", "tests/integration"), ("tests/e2e", "tests/crash"))
_NO_TESTS = 5


def names_a_part(words: Sequence[str]) -> bool:
    """Tell whether somebody wants certain tests, by a path or a test's id."""
    return any(Path(word.partition("::")[0]).exists() for word in words if not word.startswith("-"))


def outcome(codes: Sequence[int]) -> int:
    """Return the exit code of several runs of pytest: a half without a test (``-k``) is no failure."""
    met = [code for code in codes if code != _NO_TESTS]
    return max(met, default=_NO_TESTS)


def side_by_side(words: Sequence[str]) -> int:
    """Run both halves at once; the output of the second follows that of the first."""
    pytest = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryFile("w+") as said:
        print(f"Beside these runs: {' '.join(HALVES[1])}. What it says follows.", flush=True)
        second = subprocess.Popen([*pytest, *HALVES[1], *words], stdout=said, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run([*pytest, *HALVES[0], *words], check=False)
            print(f"\n{' '.join(HALVES[1])}:", flush=True)
            second.wait()
        except KeyboardInterrupt:  # the terminal has told both
            second.wait()
            return 130
        finally:
            said.seek(0)
            shutil.copyfileobj(said, sys.stdout)
            sys.stdout.flush()
    return outcome([abs(first.returncode), abs(second.returncode)])


def main() -> int:
    """Run pytest with the arguments of the command line."""
    words = sys.argv[1:]
    if names_a_part(words) or (os.cpu_count() or 1) < 2:
        return subprocess.run([sys.executable, "-m", "pytest", *words], check=False).returncode
    return side_by_side(words)


if __name__ == "__main__":
    raise SystemExit(main())
