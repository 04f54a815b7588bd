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

#: NAME OUTPUT_DIRECTORY WORD [FILE...]: writes what the files say, then the word.
PROGRAM = r"""#!/bin/sh
name=$1; out=$2; word=$3; shift 3
echo "begins $word"
sleep 0.3
case $name in
    crash-fails) echo "told to fail" >&2; exit 3 ;;
    crash-slow) sleep 8 ;;
esac
: > "$out/said.txt"
for file in "$@"; do cat "$file" >> "$out/said.txt"; done
echo "$word" >> "$out/said.txt"
parsed=
if [ "$name" = crash-parse ]; then
    parsed=',"parse_results":[{"filename":"'${1##*/}'","data_types":["parsed"],"new_workspace_path":"parsed"}]'
fi
cat > "$out/results_manifest.json" <<END
{"version":"1.1","output_data":[{"name":"result","file":{"path":"said.txt"}}]$parsed}
END
echo "ends $word" >&2
"""


def setup(folder: Path, docker: bool) -> Path:
    """Write the set-up document with all that it names, and the program; return its path."""
    folder.mkdir()
    program = folder / "work.sh"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (folder / "configuration.json").write_text(json.dumps(_configuration(program, docker), indent=1))
    document = {
        "version": "1.0",
        "workspaces": [_workspace("raw"), _workspace("products")],
        "configuration": "configuration.json",
        "strikes": [_strike(name, watched) for name, watched in STRIKES.items()],
    }
    path = folder / "setup.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def _workspace(name: str) -> dict[str, Any]:
    broker = {"type": "nfs", "mount": f"crash:/{name}"}
    return {"name": name, "title": name, "json_config": {"version": "1.0", "broker": broker}}


def _strike(name: str, watched: str) -> dict[str, Any]:
    def rule(extension: str) -> dict[str, Any]:
        return {
            "filename_regex": rf".*\.{extension}$",
            "data_types": ["crash"],
            "workspace_path": f"crash/{extension}",
            "workspace_name": "raw",
        }

    return {
        "name": name,
        "title": name,
        "configuration": {
            "version": "1.0",
            "mount": f"crash:/{watched}",
            "transfer_suffix": SUFFIX,
            "files_to_ingest": [rule("dat"), rule("csv")],
        },
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
