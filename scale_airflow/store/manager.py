# SPDX-License-Identifier: Apache-2.0
"""How ``airflow db migrate`` makes Scale's tables (provider information, ``db-managers``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from airflow.utils.db_manager import BaseDBManager

from scale_airflow.store.models import Base

_HERE = Path(__file__).parent


class ScaleDBManager(BaseDBManager):
    """Creates, upgrades, downgrades and drops the ``scale_`` tables together with Airflow's own."""

    metadata = Base.metadata
    version_table_name = "alembic_version_scale"
    migration_dir = (_HERE / "migrations").as_posix()
    alembic_file = (_HERE / "alembic.ini").as_posix()
    supports_table_dropping = True

    def downgrade(
        self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False
    ) -> None:
        """Go back to an earlier revision of the tables.

        :param to_revision: the revision to go back to, or ``base``.
        :param from_revision: with ``show_sql_only``, the revision to start from.
        :param show_sql_only: print the statements instead of running them.
        """
        from alembic import command

        target: Any = f"{from_revision}:{to_revision}" if show_sql_only and from_revision else to_revision
        config = cast(Any, self).get_alembic_config()
        command.downgrade(config, revision=target, sql=show_sql_only)
