# SPDX-License-Identifier: Apache-2.0
"""What the crash matrix sets up: workspaces, job types, recipe types, Strike processes, and their program.

What each job writes follows from its inputs alone, so that a product's content can be foretold.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

TRIES = 1000
"""Tries of every job type: no job may come to nothing because too many processes were killed."""

OUTPUT = "result"
VERSION = "1.0"
IMAGE = "scale-crash:1"
PROGRAM_IN_IMAGE = "/bin/crash-work"
FAILS_WITH = 3
STRIKES = {"crash-east": "east", "crash-west": "west"}
"""Strike processes and the folders that they watch."""

SUFFIX = "_tmp"
TAG = "parsed"

SOURCES = ("raw", "far-raw")
PRODUCTS = ("products", "far-products")
"""Workspaces of source files and of products; the far ones, on another file system, in long runs alone."""

BROKEN = "broken"
"""A workspace in which nothing can be stored until :data:`BLOCK` is taken away from its directory."""
BLOCK = "jobs"

LATE_TRIES = 2
CLOCK_WORD = "tick"

#: NAME OUTPUT_DIRECTORY WORD [FILE...]: writes what the files say, then the word.
PROGRAM = r"""#!/bin/sh
name=$1; out=$2; word=$3; shift 3
echo "begins $word"
sleep 0.3
case $name in
    crash-fails) echo "told to fail" >&2; exit 3 ;;
    crash-slow|crash-slow-box) sleep 8 ;;
    crash-late) sleep 60 ;;
esac
: > "$out/said.txt"
for file in "$@"; do cat "$file" >> "$out/said.txt"; done
echo "$word" >> "$out/said.txt"
parsed=
if [ "$name" = crash-parse ]; then
    parsed=',"parse_results":[{"filename":"'${1##*/}'","data_types":["parsed"],"new_workspace_path":"parsed"}]'
fi
second=
if [ "$name" = crash-halfway ]; then
    cp "$out/said.txt" "$out/again.txt"
    second=',{"name":"second","file":{"path":"again.txt"}}'
fi
cat > "$out/results_manifest.json" <<END
{"version":"1.1","output_data":[{"name":"result","file":{"path":"said.txt"}}$second]$parsed}
END
echo "ends $word" >&2
"""


def setup(folder: Path, docker: bool, is_long: bool = False) -> Path:
    """Write the set-up document with all that it names, and the program; return its path.

    :param is_long: with what only long runs need, so that every crash point is passed.
    """
    folder.mkdir()
    program = folder / "work.sh"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    configuration = _configuration(program, docker)
    strikes = [_strike(name, watched) for name, watched in STRIKES.items()]
    workspaces = ["raw", "products"]
    if is_long:
        configuration["job_types"] += _more_job_types(program, docker)
        workspaces = [*SOURCES, *PRODUCTS, BROKEN]
        for strike in strikes:
            far = _ingest_rule("img", SOURCES[1])
            strike["configuration"]["files_to_ingest"].append(far)
    (folder / "configuration.json").write_text(json.dumps(configuration, indent=1))
    document = {
        "version": "1.0",
        "workspaces": [_workspace(name) for name in workspaces],
        "configuration": "configuration.json",
        "strikes": strikes,
    }
    path = folder / "setup.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def _workspace(name: str) -> dict[str, Any]:
    broker = {"type": "nfs", "mount": f"crash:/{name}"}
    return {"name": name, "title": name, "json_config": {"version": "1.0", "broker": broker}}


def _strike(name: str, watched: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "configuration": {
            "version": "1.0",
            "mount": f"crash:/{watched}",
            "transfer_suffix": SUFFIX,
            "files_to_ingest": [_ingest_rule("dat"), _ingest_rule("csv")],
        },
    }


def _ingest_rule(extension: str, workspace: str = "raw") -> dict[str, Any]:
    return {
        "filename_regex": rf".*\.{extension}$",
        "data_types": ["crash"],
        "workspace_path": f"crash/{extension}",
        "workspace_name": workspace,
    }


def _configuration(program: Path, docker: bool) -> dict[str, Any]:
    plain = [
        job_type("crash-first", program, {"word": "property"}),
        job_type("crash-next", program, {"word": "property", "before": "file"}),
        job_type("crash-join", program, {"word": "property", "left": "file", "right": "file"}),
        job_type("crash-fails", program, {"word": "property"}),
        job_type("crash-slow", program, {"word": "property"}),
        job_type("crash-parse", program, {"scene": "file"}),
        job_type("crash-after", program, {"before": "file"}),
        job_type("crash-parsed", program, {"scene": "file"}),
    ]
    boxed = job_type("crash-box", Path(PROGRAM_IN_IMAGE), {"word": "property", "before": "file"})
    if not docker:
        boxed = job_type("crash-box", program, {"word": "property", "before": "file"})
    boxed.update({"uses_docker": docker, "docker_image": IMAGE if docker else None})
    plain[-1]["trigger_rule"] = {
        "type": "PARSE",
        "name": "crash-parsed",
        "is_active": True,
        "configuration": {
            "version": "1.0",
            "condition": {"media_type": "text/csv", "data_types": [TAG]},
            "data": {"input_data_name": "scene", "workspace_name": "products"},
        },
    }
    error = {
        "name": "crash-bad-data",
        "title": "Bad data",
        "description": "The job was told to fail.",
        "category": "DATA",
    }
    return {
        "version": "1.0",
        "errors": [error],
        "job_types": [*plain, boxed],
        "recipe_types": [chain(), scene()],
    }


def _more_job_types(program: Path, docker: bool) -> list[dict[str, Any]]:
    """Return those of jobs that the clock starts, that take too long, or whose results can't be stored."""
    word = {"word": "property"}
    at = Path(PROGRAM_IN_IMAGE) if docker else program
    boxed = [job_type("crash-late", at, word), job_type("crash-slow-box", at, word)]
    boxed[0].update({"timeout": 6, "max_tries": LATE_TRIES})
    for each in boxed:
        each.update({"uses_docker": docker, "docker_image": IMAGE if docker else None})
    clock = job_type("crash-clock", program, word)
    clock["trigger_rule"] = clock_rule(is_active=True)
    halfway = job_type("crash-halfway", program, word)
    halfway["max_tries"] = 1
    halfway["interface"]["output_data"].append({"name": "second", "type": "file", "media_type": "text/plain"})
    for each in (*boxed, halfway):
        each["priority"] = 10  # somebody waits for what they lead to
    return [*boxed, clock, halfway]


def clock_rule(*, is_active: bool) -> dict[str, Any]:
    """Return the rule that starts a job every minute."""
    return {
        "type": "CLOCK",
        "name": "crash-clock",
        "is_active": is_active,
        "configuration": {
            "version": "1.0",
            "event_type": "CRASH_CLOCK",
            "schedule": "PT1M",
            "data": {
                "input_data": [{"name": "word", "value": CLOCK_WORD}],
                "workspace_name": PRODUCTS[1],
            },
        },
    }


def job_type(name: str, program: Path, inputs: dict[str, str], title: str = "") -> dict[str, Any]:
    """Return a job type whose jobs say the property ``word``, or else the type's name."""
    word = "${word}" if "word" in inputs else name
    files = " ".join(f"${{{each}}}" for each, kind in inputs.items() if kind == "file")
    arguments = f"{shlex.quote(str(program))} {name} ${{job_output_dir}} {word} {files}".strip()
    return {
        "name": name,
        "version": VERSION,
        "title": title or name,
        "description": "Writes what its inputs say, and a word.",
        "category": "crash",
        "uses_docker": False,
        "docker_image": None,
        "max_tries": TRIES,
        "timeout": 600,
        "cpus_required": 0.25,
        "mem_required": 64.0,
        "disk_out_const_required": 1.0,
        "interface": {
            "version": "1.0",
            "command": "sh",
            "command_arguments": arguments,
            "input_data": [_input(each, kind) for each, kind in inputs.items()],
            "output_data": [{"name": OUTPUT, "type": "file", "media_type": "text/plain"}],
        },
        "error_mapping": {"version": "1.0", "exit_codes": {str(FAILS_WITH): "crash-bad-data"}},
    }


def _input(name: str, kind: str) -> dict[str, Any]:
    media = {"media_types": ["text/csv"]} if name == "scene" else {}
    return {"name": name, "type": kind, "required": True, **media}


CHAIN = ("first", "left", "right", "last")
SCENE = ("parse", "after")


def chain() -> dict[str, Any]:
    """Return the recipe type of four jobs: first, left and right (in a container), last."""
    word = [{"recipe_input": "word", "job_input": "word"}]

    def job(name: str, kind: str, **parents: str) -> dict[str, Any]:
        made: dict[str, Any] = {
            "name": name,
            "job_type": {"name": kind, "version": VERSION},
            "recipe_inputs": word,
        }
        if parents:
            made["dependencies"] = [
                {"name": parent, "connections": [{"output": OUTPUT, "input": given}]}
                for given, parent in parents.items()
            ]
        return made

    jobs = [
        job("first", "crash-first"),
        job("left", "crash-next", before="first"),
        job("right", "crash-box", before="first"),
        job("last", "crash-join", left="left", right="right"),
    ]
    return {
        "name": "crash-chain",
        "version": VERSION,
        "title": "Chain",
        "description": "Four jobs.",
        "definition": {
            "version": "1.0",
            "input_data": [{"name": "word", "type": "property", "required": True}],
            "jobs": jobs,
        },
    }


def scene() -> dict[str, Any]:
    """Return the recipe type that every ingested CSV file starts: parse, which moves the file, and after."""
    parse = {
        "name": "parse",
        "job_type": {"name": "crash-parse", "version": VERSION},
        "recipe_inputs": [{"recipe_input": "scene", "job_input": "scene"}],
    }
    after = {
        "name": "after",
        "job_type": {"name": "crash-after", "version": VERSION},
        "dependencies": [{"name": "parse", "connections": [{"output": OUTPUT, "input": "before"}]}],
    }
    return {
        "name": "crash-scene",
        "version": VERSION,
        "title": "Scene",
        "description": "Two jobs on a file.",
        "definition": {
            "version": "1.0",
            "input_data": [{"name": "scene", "type": "file", "required": True, "media_types": ["text/csv"]}],
            "jobs": [parse, after],
        },
        "trigger_rule": {
            "type": "INGEST",
            "name": "crash-scene",
            "is_active": True,
            "configuration": {
                "version": "1.0",
                "condition": {"media_type": "text/csv", "data_types": ["crash"]},
                "data": {"input_data_name": "scene", "workspace_name": "products"},
            },
        },
    }
