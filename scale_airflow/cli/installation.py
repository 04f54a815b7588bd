# SPDX-License-Identifier: Apache-2.0
"""``airflow scale init``, ``check``, ``sync-perms`` and ``rotate-secret``: the installation itself."""

from __future__ import annotations

import os
import sys
from typing import Any

from scale_airflow.cli.session import action, load_auth_manager, show
from scale_airflow.errors import InstallationError


@action
def init_command(args: Any) -> None:
    """Make what Scale needs in the metadata database; what exists stays."""
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.installation import initialize
    from scale_airflow.store.session import transaction

    with transaction(point="cli.init") as session:
        done = initialize(session, host=args.host)
        if done.created or done.updated:
            record_command(session, "init", created=done.created, updated=done.updated)
    rows = [{"action": "created", "what": what} for what in done.created]
    rows += [{"action": "updated", "what": what} for what in done.updated]
    if rows or args.output != "table":
        show(rows, args.output)
    else:
        print("Everything is there already.")


@action
def check_command(args: Any) -> None:
    """Print what is misconfigured with its remedy; exit code 1 if anything is an error."""
    from scale_airflow.services.checks import check_installation
    from scale_airflow.services.host_checks import check_host
    from scale_airflow.store.session import transaction

    if args.worker:
        # As for the node agent: scale_default may be in a database that this host has.
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
        findings = check_host()
    else:
        with transaction() as session:
            findings = check_installation(session)
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if args.output != "table":
        show(
            [
                {
                    "level": finding.level,
                    "subject": finding.subject,
                    "problem": finding.problem,
                    "remedy": finding.remedy,
                }
                for finding in findings
            ],
            args.output,
        )
    else:
        for finding in findings:
            print(f"{finding.level}: {finding.subject}: {finding.problem}")
            if finding.remedy:
                print(f"    {finding.remedy}")
        print(summary(errors, warnings), file=sys.stderr)
    if errors:
        raise SystemExit(1)


def summary(errors: int, warnings: int) -> str:
    """Say in one sentence how many findings ask for something to be done."""
    if not errors and not warnings:
        return "Everything is as it should be."
    counted = f"{errors} {'error' if errors == 1 else 'errors'}"
    return f"{counted}, {warnings} {'warning' if warnings == 1 else 'warnings'}."


@action
def sync_perms_command(args: Any) -> None:
    """Make Scale's permissions in the FAB auth manager and give them to Airflow's roles."""
    from scale_airflow.api_plugin.permissions import sync_permissions
    from scale_airflow.api_plugin.users import is_fab
    from scale_airflow.services.audit import record_command
    from scale_airflow.store.session import transaction

    load_auth_manager()
    if not is_fab():
        raise InstallationError(
            "Airflow's auth manager is not FAB, so there are no permissions to make.",
            "Scale maps its permissions to the roles of other auth managers by itself.",
        )
    added = sync_permissions()
    if added:
        with transaction() as session:
            record_command(session, "sync_perms", added=added)
        print(f"Made {added} {'permission or grant' if added == 1 else 'permissions and grants'}.")
    else:
        print("Every role has its permissions already.")


@action
def rotate_secret_command(args: Any) -> None:
    """Replace the secret of the workers' connection."""
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.installation import rotate_secret
    from scale_airflow.store.session import transaction

    with transaction(point="cli.rotate_secret") as session:
        rotate_secret(session)
        record_command(session, "rotate_secret")
    print("The connection scale_default has a new secret.")
