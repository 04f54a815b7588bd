# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.crash --kills 200 --seed 1``: see docs/how-to/test.md."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from pathlib import Path

from tests.crash.asked import LONG, SHORT
from tests.crash.report import write
from tests.crash.run import crash_run


def main() -> int:
    """Run once; return 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="chosen and told if not given")
    parser.add_argument("--short", action="store_true", help="few jobs and files")
    parser.add_argument("--without-docker", action="store_true")
    parser.add_argument(
        "--every-point", action="store_true", help="fail unless something was killed at each named point"
    )
    parser.add_argument("--report", type=Path, default=None, help="folder of the report")
    parser.add_argument("--longest", type=float, default=3600.0, help="seconds of killing, at most")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds to settle, at most")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder also when all is well")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    outcome = crash_run(
        seed,
        given.kills,
        SHORT if given.short else LONG,
        docker=not given.without_docker,
        # Several, so that there is nearly always one that can be killed while it is at something.
        api_servers=1 if given.short else 4,
        longest=given.longest,
        patience=given.patience,
        tell=lambda text: print(text, flush=True),
    )
    path = write(outcome, given.report or outcome.folder / "report")
    print(path.read_text())
    print(f"The report is {path}.")
    is_missing = given.every_point and bool(outcome.missed)
    if is_missing:
        print(f"{len(outcome.missed)} points were not hit.")
    if outcome.wrong or is_missing:
        short = (" --short" if given.short else "") + (" --every-point" if given.every_point else "")
        print(f"The seed is {seed}. Again: python -m tests.crash --kills {given.kills} --seed {seed}{short}")
        print(f"The run's folder, with all logs, is {outcome.folder}.")
        return 1
    if given.report is not None and not given.keep:
        shutil.rmtree(outcome.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
