# SPDX-License-Identifier: Apache-2.0
"""Jobs on other systems"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('scale_remote_job',
    sa.Column('job_exe_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('connection', sa.Text(), nullable=False),
    sa.Column('marker', sa.Text(), nullable=False),
    sa.Column('not_before', sa.DateTime(timezone=True), nullable=False),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('message', sa.Text(), nullable=True),
    sa.Column('created', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['job_exe_id'], ['scale_job_execution.id'], name=op.f('fk_scale_remote_job_job_exe_id')),
    sa.PrimaryKeyConstraint('job_exe_id', name=op.f('pk_scale_remote_job')),
    sa.UniqueConstraint('marker', name=op.f('uq_scale_remote_job_marker'))
    )


def downgrade() -> None:
    op.drop_table('scale_remote_job')
