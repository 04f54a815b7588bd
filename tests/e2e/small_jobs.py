# SPDX-License-Identifier: Apache-2.0
"""Job types of one small program: it waits for a file that the test makes, and writes what it was told."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from tests.e2e.system import Scale

OUTPUT = "result"
_PROGRAM = '''\
"""say.py WORD GATE OUTPUT_DIRECTORY [FILE_BEFORE...]: writes what it read and then its word."""
import json, pathlib, sys, time

word, gate, output, *before = sys.argv[1:]
gate = pathlib.Path(gate)
while not gate.exists():
    time.sleep(0.05)
print("says", word, flush=True)
if gate.read_text() == "fail":
    sys.exit("told to fail")
said = [pathlib.Path(name).read_text() for name in before]
pathlib.Path(output, "said.txt").write_text("".join([*said, word + "\\n"]))
manifest = {"version": "1.1", "output_data": [{"name": "result", "file": {"path": "said.txt"}}]}
pathlib.Path(output, "results_manifest.json").write_text(json.dumps(manifest))
'''


class Gate:
    """A file that lets programs go on once it is there."""

    def __init__(self, path: Path):
        self.path = path

    def open(self, order: str = "go") -> Gate:
        """Let everybody through: to do its work, or with the order "fail"."""
        new = self.path.with_name(f".{self.path.name}")
        new.write_text(order)
        os.replace(new, self.path)
        return self


class SmallJobs:
    """The program, its gates, and documents of types that run it."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self.program = folder / "say.py"
        self.program.write_text(_PROGRAM)

    def gate(self, name: str) -> Gate:
        """Return a gate, closed when it is new."""
        return Gate(self.folder / name)

    def interface(self, word: str, *, takes_file: bool = False) -> dict[str, Any]:
        """Return the interface of a job that says ``word``, after what the file given to it says."""
        inputs = [{"name": "gate", "type": "property"}]
        if takes_file:
            inputs.append({"name": "before", "type": "file"})
        arguments = f"{shlex.quote(str(self.program))} {shlex.quote(word)} ${{gate}} ${{job_output_dir}}"
        return {
            "version": "1.0",
            "command": "python3",
            "command_arguments": f"{arguments} ${{before}}" if takes_file else arguments,
            "input_data": inputs,
            "output_data": [{"name": OUTPUT, "type": "file", "media_type": "text/plain"}],
        }

    def job_type(self, name: str, version: str, interface: dict[str, Any]) -> dict[str, Any]:
        """Return the document of a job type whose jobs are tried once."""
        return {
            "name": name,
            "version": version,
            "title": name[:50],
            "description": "",
            "category": "test",
            "docker_image": "none",
            "max_tries": 1,
            "timeout": 120,
            "cpus_required": 0.25,
            "mem_required": 128.0,
            "interface": interface,
        }

    @staticmethod
    def job(name: str, job_type: tuple[str, str], gate: str, *, after: str | None = None) -> dict[str, Any]:
        """Return a job of a recipe's definition.

        :param gate: the recipe's input with its gate.
        :param after: the job whose file it takes.
        """
        made: dict[str, Any] = {
            "name": name,
            "job_type": {"name": job_type[0], "version": job_type[1]},
            "recipe_inputs": [{"recipe_input": gate, "job_input": "gate"}],
        }
        if after is not None:
            made["dependencies"] = [{"name": after, "connections": [{"output": OUTPUT, "input": "before"}]}]
        return made


def text_of(scale: Scale, job_id: int) -> str:
    """Return what a completed job wrote into its product, as the product's URL answers."""
    (product,) = scale.client.get(f"jobs/{job_id}/")["products"]
    answer = scale.client.request("GET", str(product["url"]).removeprefix(scale.installation.url))
    answer.raise_for_status()
    return answer.text


def log_of(scale: Scale, dag_id: str, run_id: str, task_id: str) -> str:
    """Return the log of a task's last try as Airflow shows it."""
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
    number = scale.client.airflow("GET", path)["try_number"]
    return json.dumps(scale.client.airflow("GET", f"{path}/logs/{number}"))
