# SPDX-License-Identifier: Apache-2.0
"""``airflow scale apply``, ``import`` and ``export``: whole configurations in and out."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scale_airflow.cli.session import action, read_text, show
from scale_airflow.errors import DocumentWarning, InvalidRequest


@action
def apply_command(args: Any) -> None:
    """Apply a set-up document: workspaces, configuration, Strike processes."""
    from scale_airflow.definitions.documents import load_json
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.setup import apply_setup
    from scale_airflow.store.session import transaction

    document = load_json(read_text(str(args.file)))
    with transaction(point="cli.apply") as session:
        report = apply_setup(session, document, args.file.resolve().parent)
        made = [f"{what} {name}" for what, name, outcome in report.entries if outcome != "unchanged"]
        record_command(session, "apply_setup", changed=made)
    show(report.rows(), args.output)
    warn(report.warnings)


@action
def import_command(args: Any) -> None:
    """Import a configuration export document, all of it or nothing."""
    from scale_airflow.definitions.documents import load_json
    from scale_airflow.services.audit import names_in, record_command
    from scale_airflow.services.transfer import import_configuration
    from scale_airflow.store.session import transaction

    document = load_json(read_text(args.file))
    with transaction(point="cli.import") as session:
        warnings = import_configuration(session, document)
        record_command(session, "import_configuration", **names_in(document))
    if args.output == "table":
        print(f"Imported {args.file}.")
        warn(warnings)
    else:
        show([warning.as_dict() for warning in warnings], args.output)


@action
def export_command(args: Any) -> None:
    """Export the configuration as one document."""
    from scale_airflow.services.transfer import export_configuration
    from scale_airflow.store.session import transaction

    target = None if args.file == "-" else Path(args.file)
    if target is not None and target.exists() and not args.force:
        raise InvalidRequest(f"{target} exists; --force replaces it.")
    with transaction() as session:
        document = export_configuration(
            session,
            recipe_type_names=args.recipe_type_name or (),
            job_type_names=args.job_type_name or (),
            error_names=args.error_name or (),
        )
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if target is None:
        sys.stdout.write(text)
        return
    replace(target, text)
    print(f"Exported to {target}.")


def replace(target: Path, text: str) -> None:
    """Write a file whole or not at all.

    :raises InvalidRequest: if it can't be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp's files are private; a document is as readable as any file the user makes.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidRequest(f"{target} can't be written: {error.strerror}.") from None


def warn(warnings: Sequence[DocumentWarning]) -> None:
    """Print warnings on standard error."""
    for warning in warnings:
        print(f"warning: {warning.id}: {warning.details}", file=sys.stderr)
