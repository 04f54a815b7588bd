# SPDX-License-Identifier: Apache-2.0
"""Tallies of jobs and files are kept, see scale_airflow.store.tallies"""

from __future__ import annotations

from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

_TALLIES = (
    ('scale_job_tally', 'scale_job', 'job_type_id, status'),
    (
        'scale_file_tally',
        'scale_file',
        'kind, job_type_id, is_operational, has_been_published, is_parsed',
    ),
)
_EVENTS = (
    ('insert', 'REFERENCING NEW TABLE AS added'),
    ('update', 'REFERENCING OLD TABLE AS removed NEW TABLE AS added'),
    ('delete', 'REFERENCING OLD TABLE AS removed'),
    ('truncate', ''),
)


def upgrade() -> None:
    for tally, table, by in _TALLIES:
        into = f'INSERT INTO {tally} ({by}, amount)'
        op.execute(
            f"""
CREATE OR REPLACE FUNCTION {tally}_keep() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {into} SELECT {by}, count(*) FROM added GROUP BY {by};
    ELSIF TG_OP = 'DELETE' THEN
        {into} SELECT {by}, -count(*) FROM removed GROUP BY {by};
    ELSIF TG_OP = 'UPDATE' THEN
        {into} SELECT {by}, sum(amount) FROM (
            SELECT {by}, 1 AS amount FROM added UNION ALL SELECT {by}, -1 FROM removed
        ) changed GROUP BY {by} HAVING sum(amount) <> 0;
    ELSE
        DELETE FROM {tally};
    END IF;
    RETURN NULL;
END $$"""
        )
        for event, tables in _EVENTS:
            op.execute(
                f'CREATE TRIGGER {tally}_{event} AFTER {event.upper()} ON {table} '
                f'{tables} FOR EACH STATEMENT EXECUTE FUNCTION {tally}_keep()'
            )
        op.execute(
            f'ALTER TABLE {tally} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)'
        )
        # Nothing changes until the end of this transaction: making a trigger has locked the table.
        op.execute(f'{into} SELECT {by}, count(*) FROM {table} GROUP BY {by}')


def downgrade() -> None:
    for tally, _, _ in _TALLIES:
        op.execute(f'DROP FUNCTION {tally}_keep() CASCADE')
