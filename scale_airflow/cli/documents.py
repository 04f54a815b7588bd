# SPDX-License-Identifier: Apache-2.0
"""``airflow scale validate`` and ``compile``: work on documents alone, without a database."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scale_airflow.cli.session import action, explain, read_text, show, stop
from scale_airflow.errors import InvalidDocument, InvalidRequest

PARSERS: dict[str, str] = {
    "configuration": "configuration_export.ConfigurationExport",
    "setup": "setup_document.SetupDocument",
    "job-type": "job_type_document.JobTypeDocument",
    "job-interface": "job_interface.JobInterface",
    "error-mapping": "error_mapping.ErrorMapping",
    "job-data": "job_data.JobData",
    "recipe-type": "recipe_type_document.RecipeTypeDocument",
    "recipe-definition": "recipe_definition.RecipeDefinition",
    "recipe-data": "recipe_data.RecipeData",
    "results-manifest": "results_manifest.ResultsManifest",
    "strike": "strike_configuration.StrikeConfiguration",
    "workspace": "workspace_configuration.WorkspaceConfiguration",
    "ingest-rule": "trigger_rules.IngestRule",
    "parse-rule": "trigger_rules.ParseRule",
    "clock-rule": "trigger_rules.ClockRule",
}
"""For each kind the class below ``scale_airflow.definitions`` whose ``parse`` refuses what is wrong."""


@action
def validate_command(args: Any) -> None:
    """Check files against the specification of their kind; exit code 1 if any has a fault."""
    parse = parser(args.kind)
    rows: list[dict[str, Any]] = []
    failed = 0
    for name in args.files:
        faults = list(faults_of(name, parse))
        failed += bool(faults)
        rows += faults
    if args.output != "table":
        show(rows, args.output)
    else:
        for row in rows:
            print(
                f"{row['file']}:{row['line']}:{row['column']}: {row['pointer'] or '/'}: {row['message']}",
            )
        sound = len(args.files) - failed
        print(
            f"{sound} of {len(args.files)} {'file is' if sound == 1 else 'files are'} valid, "
            f"{len(rows)} {'fault' if len(rows) == 1 else 'faults'}.",
            file=sys.stderr,
        )
    if failed:
        raise SystemExit(1)


def parser(kind: str) -> Callable[[Any], object]:
    """Return the function that reads a document of this kind and raises InvalidDocument."""
    module, _, name = PARSERS[kind].partition(".")
    loaded = importlib.import_module(f"scale_airflow.definitions.{module}")
    parse: Callable[[Any], object] = getattr(loaded, name).parse
    return parse


def faults_of(name: str, parse: Callable[[Any], object]) -> Iterator[dict[str, Any]]:
    """Yield the faults of one file with their places: file, line, column, pointer, message, rule."""
    from scale_airflow.definitions.documents import load_json
    from scale_airflow.definitions.source import locate

    shown = "<stdin>" if name == "-" else name
    text = ""
    try:
        text = read_text(name)
        parse(load_json(text))
    except InvalidRequest as error:
        yield _row(shown, (1, 1), "", error.detail, "file.unreadable")
    except InvalidDocument as error:
        for fault in error.faults:
            place = _syntax_error(text) or locate(text, fault.path)
            yield _row(shown, place, fault.path, fault.message, fault.rule)


def _syntax_error(text: str) -> tuple[int, int] | None:
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.lineno, error.colno
    except (ValueError, RecursionError):
        return 1, 1
    return None


def _row(name: str, place: tuple[int, int], pointer: str, message: str, rule: str) -> dict[str, Any]:
    return {
        "file": name,
        "line": place[0],
        "column": place[1],
        "pointer": pointer,
        "message": message,
        "rule": rule,
    }


@action
def compile_command(args: Any) -> None:
    """Print, or write into a directory, the DAG file of a recipe definition or job interface."""
    from scale_airflow.compiler.dag_files import job_dag_file, recipe_dag_file
    from scale_airflow.definitions.documents import load_json

    kind = "recipe-definition" if args.kind == "recipe" else "job-interface"
    faults = list(faults_of(args.file, parser(kind))) if args.file != "-" else []
    if faults:
        lines = [f"{row['file']}:{row['line']}:{row['column']}: {row['message']}" for row in faults]
        stop(*lines)
    document = load_json(read_text(args.file))
    try:
        parser(kind)(document)
    except InvalidDocument as error:
        stop(*explain(error))
    render = recipe_dag_file if args.kind == "recipe" else job_dag_file
    name = args.name or ("stdin" if args.file == "-" else Path(args.file).stem)
    file = render(name, args.type_version, args.revision, args.title, document)
    if args.output_dir is None:
        print(file.source, end="")
        return
    if not args.output_dir.is_dir():
        raise InvalidRequest(f"{args.output_dir} is not a directory; make it first.")
    target = args.output_dir / file.file_name
    target.write_text(file.source, encoding="utf-8")
    print(target)
