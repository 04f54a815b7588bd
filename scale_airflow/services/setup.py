# SPDX-License-Identifier: Apache-2.0
"""Apply a set-up document: a whole installation's workspaces, configuration and Strike processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from scale_airflow.definitions.documents import load_json
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.setup_document import KIND, SetupDocument
from scale_airflow.definitions.strike_document import StrikeDocument
from scale_airflow.errors import DocumentWarning, Fault, InvalidDocument
from scale_airflow.services.publications import Publications
from scale_airflow.services.stored import Outcome, outcome_of
from scale_airflow.services.strikes import ensure_strike, validate_strike
from scale_airflow.services.transfer import Imported, put_configuration
from scale_airflow.services.workspaces import ensure_workspace
from scale_airflow.store.models import Strike

MAX_BYTES = 64 * 1024 * 1024
"""The longest configuration document that is read, in bytes."""


@dataclass(slots=True)
class SetupReport:
    """What applying a set-up did: for each thing its kind, its name, and what happened to it; warnings."""

    entries: list[tuple[str, str, Outcome]] = field(default_factory=list)
    warnings: list[DocumentWarning] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return the entries as rows of a table."""
        return [{"what": what, "name": name, "outcome": outcome} for what, name, outcome in self.entries]


def apply_setup(session: Session, document: object, base_dir: Path) -> SetupReport:
    """Make the installation what a set-up document says: all of it or nothing, as often as one likes.

    Workspaces come first, then the configuration, which refers to them, then Strike processes. What the
    document does not name stays as it is.

    :param base_dir: the document's directory: the configuration's path is relative to it and stays inside.
    :raises InvalidDocument: with every fault; those of the configuration's file begin with its path and #.
    """
    parsed = SetupDocument.parse(document)
    report, publications = SetupReport(), Publications()
    with session.begin_nested():
        for workspace in parsed.workspaces:
            stored = ensure_workspace(session, workspace)
            report.entries.append(("workspace", workspace.name, stored.outcome))
            report.warnings += stored.warnings
        faults = Faults()
        if parsed.configuration is not None:
            _put_configuration(session, base_dir, parsed.configuration, publications, report, faults)
        for index, strike in enumerate(parsed.strikes):
            try:
                validate_strike(session, _strike_document(strike))
            except InvalidDocument as error:
                faults.extend(error.faults, f"/strikes/{index}")
        faults.refuse(KIND, parsed.document)
    # From here on only Airflow can refuse.
    publications.carry_out(session)
    for strike in parsed.strikes:
        report.entries.append(("Strike process", strike.name, _ensure_strike(session, strike)))
    return report


def read_configuration(path: PurePosixPath, base_dir: Path) -> Any:
    """Read the configuration export that a set-up document refers to.

    :raises InvalidDocument: if it can't be read, is no JSON, or lies outside of the document's directory.
    """
    try:
        root = base_dir.resolve(strict=True)
        file = (root / path).resolve(strict=True)
        if not file.is_relative_to(root):
            raise _refused(f"The file {quote(str(path))} leads out of the directory of the set-up document.")
        if not file.is_file():
            raise _refused(f"{quote(str(path))} is not a file.")
        if file.stat().st_size > MAX_BYTES:
            raise _refused(f"The file {quote(str(path))} has more than {MAX_BYTES} bytes.")
        content = file.read_bytes()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _refused(f"The file {quote(str(path))} can't be read: {reason}.") from None
    try:
        return load_json(content)
    except InvalidDocument as error:
        raise InvalidDocument("set-up", _of_file(error, path)) from None


def _put_configuration(
    session: Session,
    base_dir: Path,
    path: PurePosixPath,
    publications: Publications,
    report: SetupReport,
    faults: Faults,
) -> None:
    try:
        document = read_configuration(path, base_dir)
    except InvalidDocument as error:
        faults.extend(error.faults)
        return
    try:
        done: Imported = put_configuration(session, document, publications)
    except InvalidDocument as error:
        faults.extend(_of_file(error, path))
    else:
        report.entries += done.entries
        report.warnings += done.warnings


def _ensure_strike(session: Session, strike: StrikeDocument) -> Outcome:
    last_modified = select(Strike.last_modified).where(Strike.name == strike.name)
    before = session.scalar(last_modified)
    _, is_new = ensure_strike(session, **_strike_document(strike))
    return outcome_of(is_new=is_new, has_changed=session.scalar(last_modified) != before)


def _strike_document(strike: StrikeDocument) -> dict[str, Any]:
    assert strike.configuration is not None
    document = {"name": strike.name, **strike.values, "configuration": dict(strike.configuration.document)}
    return document if strike.is_active is None else {**document, "is_active": strike.is_active}


def _of_file(error: InvalidDocument, path: PurePosixPath) -> list[Fault]:
    return [Fault(f"{path}#{fault.path}", fault.message, fault.rule) for fault in error.faults]


def _refused(message: str) -> InvalidDocument:
    return InvalidDocument("set-up", [Fault("/configuration", message, "setup.configuration")])
