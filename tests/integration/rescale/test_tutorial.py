# SPDX-License-Identifier: Apache-2.0
"""Every code cell of Rescale's own tutorial notebook, run against the emulator as its reader would.

The notebook is read from the specification at test time. Address, key and waiting times come from here, and
what :data:`EXCEPTIONS` lists, each with its reason; all else is the notebook's.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from specification import TEXT

from scale_airflow.rescale.emulator.process import EmulatorProcess

NOTEBOOK = TEXT.with_name("002_635f7e2940fcd833.txt")
DRIVER = Path(__file__).with_name("tutorial_driver.py")
TOOLS = ("bash", "openssl", "shasum", "ssh-keygen")
CELL = "In [None]:"
CELLS = 42

pytestmark = [
    pytest.mark.skipif(not NOTEBOOK.is_file(), reason="the specification's notebook is not at hand"),
    *(pytest.mark.skipif(shutil.which(tool) is None, reason=f"the tutorial needs {tool}") for tool in TOOLS),
]


@dataclass(frozen=True)
class Exceptional:
    """What is not as in the notebook.

    :param where: text by which the one cell is known.
    :param replace: text of the cell, and what stands there instead.
    :param raises: exception with which the cell ends as it is written.
    :param then: code that runs after the cell.
    """

    where: str
    reason: str
    replace: tuple[str, str] = ("", "")
    raises: str = ""
    then: str = ""


EXCEPTIONS = [
    Exceptional(
        "def poll_for_job_status(",
        "waiting time",
        replace=("interval=30", "interval=0.02"),
    ),
    Exceptional(
        "def poll_for_status(",
        "waiting time",
        replace=("interval=30", "interval=0.02"),
    ),
    Exceptional(
        "ssh-keygen",
        "newer ssh-keygen make Ed25519 keys, which the next cell's RSAKey can't read; "
        "registering the key in the user's profile is done with a mouse",
        replace=("ssh-keygen -f", "ssh-keygen -q -t rsa -f"),
        then="_shell('cat rescale-key.pub > authorized_keys')",
    ),
    Exceptional(
        "openssl rand",
        "1 GB is made small: below 50 MB, where the notebook downloads with one thread, since its ten "
        "threads share one dictionary of headers and now and then fetch wrong ranges; and the cell asks "
        "poll_for_status for a text, which that refuses as it is written",
        replace=("792917038", "3000000"),
        raises="Unknown Status Type.",
        then="poll_for_status(api_url, headers, job_id, JobStatus.COMPLETED, verbose=True)",
    ),
    Exceptional(
        'LOCAL_7ZA = "7za_bin',
        "the notebook's 7za executables are not in the specification: a script that takes the same "
        "arguments stands for them",
    ),
]

PI = """\
import struct, sys

count = int(open(sys.argv[1]).read())
pi = 4 * sum((-1) ** i / (2 * i + 1) for i in range(count))
print("Estimated", pi)
open("pi_estimate.res", "w").write(f"{pi}\\n")
open("pi_estimate.bin", "wb").write(struct.pack("d", pi))
"""

SEVEN_ZIP = f"""\
#!{sys.executable}
import sys, zlib

command, *rest = sys.argv[1:]
archive, *inputs = [one for one in rest if not one.startswith("-")]
if command == "a":
    size = int(next(one for one in rest if one.startswith("-v"))[2:-1]) << 20
    data = zlib.compress(open(inputs[0], "rb").read())
    size = min(size, len(data) // 3 + 1)
    for number, at in enumerate(range(0, len(data), size), 1):
        open(f"{{archive}}.{{number:03d}}", "wb").write(data[at : at + size])
else:
    open(archive[: -len(".7z")], "wb").write(zlib.decompress(open(archive, "rb").read()))
"""


def code_cells() -> list[str]:
    """The source of each code cell; what is between a cell and the next is prose, which is no Python."""
    return [_code(part) for part in NOTEBOOK.read_text("utf-8").split(CELL)[1:]]


def _code(part: str) -> str:
    """The longest beginning of blocks that is Python, its shell lines made calls."""
    text = re.sub(r"^! (.*)$", lambda match: f"_shell({match[1]!r})", part, flags=re.MULTILINE)
    ends = [match.start() for match in re.finditer(r"\n\n|\Z", text)]
    for end in reversed(ends):
        try:
            ast.parse(text[:end])
        except SyntaxError:
            continue
        return text[:end].strip("\n") + "\n"
    raise AssertionError(f"no Python in the cell that begins {part[:80]!r}")


def prepared_cells() -> list[dict[str, object]]:
    cells = []
    left = list(EXCEPTIONS)
    for number, source in enumerate(code_cells(), 1):
        raises = then = ""
        for one in [one for one in left if one.where in source]:
            left.remove(one)
            assert one.replace[0] in source
            source = source.replace(*one.replace) if one.replace[0] else source
            raises, then = one.raises, one.then
        cells.append({"number": number, "source": source, "raises": raises, "then": then})
    assert not left, "an exception is for no cell"
    return cells


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """The directory of someone who has the tutorial's repository."""
    place = tmp_path / "reader"
    inputs = place / "job_inputs"
    inputs.mkdir(parents=True)
    (inputs / "calculate_pi.py").write_text(PI)
    (inputs / "range.inp").write_text("10000\n")
    (inputs / "run_plot.jou").write_text("; plot\n")
    (inputs / "tjunction_plot.cas.gz").write_bytes(gzip.compress(b"(0 cas)"))
    (place / "7za_bin").mkdir()
    for name in ("7za_v17.05_mac_arm64", "7za_v17.05_lnx_x64"):
        (place / "7za_bin" / name).write_text(SEVEN_ZIP)
        (place / "7za_bin" / name).chmod(0o755)
    return place


@pytest.fixture
def emulator(tmp_path: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorProcess]:
    # Jobs call python, which is what runs this.
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python", "python3"):
        (tools / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    # The notebook takes no 504 for an answer.
    with EmulatorProcess(
        tmp_path / "root", authorized_keys=reader / "authorized_keys", gateway_timeout_every=0
    ) as running:
        yield running


def test_the_tutorial_runs_as_it_is_written(emulator: EmulatorProcess, reader: Path) -> None:
    emulator.admin.add_job(
        {
            "name": "A job made in the portal",
            "jobanalyses": [
                {
                    "analysis": {"code": "user_included", "version": "0"},
                    "command": "true",
                    "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
                }
            ],
        },
        "ObMcJc",
    )
    (reader / "config.py").write_text(
        f"def get_profile():\n    return {emulator.base_url!r}, {emulator.api_key!r}\n"
    )
    cells = prepared_cells()
    assert len(cells) == CELLS
    (reader / "cells.json").write_text(json.dumps(cells))
    ran = subprocess.run(
        [sys.executable, DRIVER, "cells.json"],
        cwd=reader,
        env={**os.environ, "PYTHONPATH": str(reader), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    said = {
        int(number): text
        for number, text in re.findall(r"^=== cell (\d+)\n(.*?)(?=^=== cell |\Z)", ran.stdout, re.M | re.S)
    }
    assert len(said) == CELLS

    def after(text: str) -> str:
        """What the first cell with this text printed."""
        return next(said[int(str(cell["number"]))] for cell in cells if text in str(cell["source"]))

    assert after('get(f"{api_url}/api/v2/users/me/")') == "401\n"
    assert "coresPerSlot" in after("except:\n    pprint(job_save_res.json())")
    assert after('poll_for_job_status(api_url, headers, job_id, "Completed", verbose=True)').endswith(
        "Pending > Queued > Started > Validated > Executing > Completed\n"
    )
    assert "can't open file" in after('in file_contents_response.json()["lines"]:')
    assert "\n200\n" in after("job_update_res = requests.patch")
    assert after("delete_job_res = requests.delete").endswith("> Stopped\n204\n")
    checks = after('print(f"OK\\t')
    assert sorted(checks.split()) == ["OK"] * 3 + ["pi_estimate.bin", "pi_estimate.res", "process_output.log"]
    assert "BEGIN" not in after("_shell('cat rescale-key.pub')")
    assert "Estimated 3.14" in after("ssh_client.exec_command")
    assert after("print(job_stop_res)") == "<Response [202]>\n"
    assert after("def create_zip").count("Estimated 3.14") == 1
    assert after('print("Hashes match")').endswith("> Completed\nHashes match\n")
    jobs = emulator.admin.jobs()
    assert len(jobs) == 6
    assert max(job["paid_runs"] for job in jobs) == 1
