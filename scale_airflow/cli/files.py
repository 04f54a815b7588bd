# SPDX-License-Identifier: Apache-2.0
"""``airflow scale countries``: finds the countries of files that are stored already."""

from __future__ import annotations

from typing import Any

from scale_airflow.cli.session import action


@action
def countries_command(_: Any) -> None:
    """Find the countries of all files that have a footprint; each thousand is a transaction of its own."""
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.file_countries import find_countries
    from scale_airflow.store.session import transaction

    last: int | None = 0
    changed = 0
    while last is not None:
        with transaction(point="cli.countries") as session:
            last, count = find_countries(session, last)
            changed += count
            if last is None:
                record_command(session, "find_countries", changed=changed)
    print(f"{changed} files have other countries now.")
