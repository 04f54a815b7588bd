# SPDX-License-Identifier: Apache-2.0
"""Every shell block of Rescale's job-creation tutorial, run against the emulator as its reader would.

The tutorial is read from the specification at test time. Address, key and the ids of its sample answers are
replaced by what the emulator gave; all else is the tutorial's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from specification import TEXT

from scale_airflow.rescale.emulator.process import EmulatorProcess

TUTORIAL = TEXT.with_name("003_de0d640d24691a68.txt")
# Some fences have two backticks only.
BLOCK = re.compile(r"^`{2,3}shell\n(.*?)^`{2,3}$", re.MULTILINE | re.DOTALL)
DEADLINE = 60.0

pytestmark = [
    pytest.mark.skipif(not TUTORIAL.is_file(), reason="the specification's tutorial is not at hand"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial needs curl"),
]


class Reader:
    """Copies the tutorial's commands into a shell."""

    def __init__(self, emulator: EmulatorProcess, place: Path) -> None:
        self._place = place
        self.names = {
            "https://platform.rescale.com": emulator.base_url,
            "<api-token>": emulator.api_key,
        }

    def run(self, block: str) -> str:
        for name, value in self.names.items():
            block = block.replace(name, value)
        ran = subprocess.run(
            ["bash", "-c", block], cwd=self._place, capture_output=True, text=True, timeout=DEADLINE
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def answer(self, block: str) -> Any:
        return json.loads(self.run(block))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with zipfile.ZipFile(tmp_path / "airfoil2d.zip", "w") as archive:
        archive.writestr("airFoil2D/Allrun", "#!/bin/sh\necho solved > airFoil2D/result\n")
    with EmulatorProcess(tmp_path / "root", gateway_timeout_every=0) as emulator:
        yield Reader(emulator, tmp_path)


def test_the_job_creation_tutorial_runs_as_it_is_written(reader: Reader, tmp_path: Path) -> None:
    upload, analyses, create, submit, statuses, runs, download = BLOCK.findall(TUTORIAL.read_text("utf-8"))
    file = reader.answer(upload)
    assert (file["name"], file["isUploaded"]) == ("airfoil2d.zip", True)
    reader.names["XkpTse"] = file["id"]
    assert reader.answer(analyses)["count"] > 10
    job = reader.answer(create)
    assert job["jobanalyses"][0]["inputFiles"][0]["id"] == file["id"]
    reader.names["QTVia"] = job["id"]
    reader.run(submit)
    deadline = time.monotonic() + DEADLINE
    while (latest := reader.answer(statuses)["results"][0])["status"] != "Completed":
        assert time.monotonic() < deadline
    assert latest["statusReason"] == "Completed successfully"
    (run,) = reader.answer(runs)["results"]
    assert (run["id"], run["type"], run["outputFileCount"]) == ("1", 3, 2)
    files = reader.answer(statuses.replace("/statuses/", "/files/"))["results"]
    reader.names["iudjqe"] = next(one["id"] for one in files if one["name"] == "process_output.log")
    reader.run(download)
    assert "Exited with code 0" in (tmp_path / "process_output.log").read_text()
    assert {one["relativePath"] for one in files} == {"airFoil2D/result", "process_output.log"}
