# SPDX-License-Identifier: Apache-2.0
"""A node on which jobs keep failing through the system is paused, before it takes the whole queue with it."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scale_airflow.config import Settings
from scale_airflow.store.models import ErrorModel, JobExecution, Node, utcnow

PAUSE_REASON = "System Failure Rate Too High"

log = logging.getLogger(__name__)


def pause_if_failing(session: Session, node_id: int, settings: Settings) -> bool:
    """Pause a node if too many jobs failed on it lately with a SYSTEM error.

    Called when a job has used up its tries; what runs on the node goes on. The caller's locks come before
    the node's.

    :returns: whether the node was paused now.
    """
    since = utcnow() - timedelta(minutes=settings.node_error_period)
    failed = session.execute(
        select(func.count(func.distinct(JobExecution.job_id)))
        .join(ErrorModel, ErrorModel.id == JobExecution.error_id)
        .where(
            JobExecution.node_id == node_id,
            JobExecution.status == "FAILED",
            JobExecution.ended >= since,
            ErrorModel.category == "SYSTEM",
        )
    ).scalar_one()
    if failed < settings.max_node_errors:
        return False
    node = session.scalars(
        select(Node)
        .where(Node.id == node_id)
        .with_for_update(of=Node, key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    if node.is_paused:
        return False
    node.is_paused, node.is_paused_errors, node.pause_reason = True, True, PAUSE_REASON
    log.warning("Node %s is paused: %d jobs failed on it with system errors", node.hostname, failed)
    return True
