# SPDX-License-Identifier: Apache-2.0
"""Alembic's environment: Scale's tables only, with a version table of their own."""

from __future__ import annotations

import contextlib
from typing import Any

from airflow import settings
from alembic import context

from scale_airflow.store.manager import ScaleDBManager

_METADATA = ScaleDBManager.metadata


def _is_ours(_object: Any, name: str | None, kind: str, *_rest: Any) -> bool:
    return kind != "table" or name in _METADATA.tables


_OPTIONS: dict[str, Any] = {
    "target_metadata": _METADATA,
    "version_table": ScaleDBManager.version_table_name,
    "include_object": _is_ours,
    "compare_type": True,
    "compare_server_default": True,
}

if context.is_offline_mode():
    context.configure(url=settings.SQL_ALCHEMY_CONN, literal_binds=True, **_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
else:
    with contextlib.ExitStack() as stack:
        connection = context.config.attributes.get("connection")
        if connection is None:
            assert settings.engine is not None
            connection = stack.enter_context(settings.engine.connect())
        context.configure(connection=connection, transaction_per_migration=True, **_OPTIONS)
        with context.begin_transaction():
            context.run_migrations()
