# SPDX-License-Identifier: Apache-2.0
"""Ends what may still run at Rescale for an execution that is over; the API server does it.

The worker that started a job stops it, if it still can. This is for those whose worker or host is gone.
"""

from __future__ import annotations

import logging
from datetime import datetime

from scale_airflow import crash_points
from scale_airflow.errors import RescaleNotFound
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints import delete_job, list_cluster_statuses, list_statuses
from scale_airflow.rescale.stopping import StopMode, stop
from scale_airflow.rescale.submission import Marker
from scale_airflow.rescale.submission_client import ClientPort, NoStore
from scale_airflow.rescale.verdict import Draft, Waiting, judge

log = logging.getLogger(__name__)


def end_marked(client: RescaleClient, marker: str, since: datetime, *, force: bool = False) -> bool:
    """Stop every job that carries a marker, and delete drafts; tell whether nothing runs any more.

    :param marker: of the execution.
    :param since: no job of it is older.
    :param force: stop at once what was asked in vain to stop.
    :raises RescaleError: if Rescale refuses or can't be reached.
    """
    ours = Marker(marker, "00000000")
    is_quiet = True
    for job in ClientPort(client, NoStore(), dict, since=since).find_marked(marker):
        if ours.payload_of(job.name) is None:
            continue
        try:
            is_quiet &= _end(client, job.id, force=force)
        except RescaleNotFound:
            continue  # somebody was quicker
    return is_quiet


def _end(client: RescaleClient, job_id: str, *, force: bool) -> bool:
    clusters = client.all(list_cluster_statuses(job_id))
    statuses = client.all(list_statuses(job_id))
    verdict = judge(statuses, clusters)
    if isinstance(verdict, Draft):
        crash_points.reach("rescale.discard.before")
        client.send(delete_job(job_id))
        crash_points.reach("rescale.discard.after")
        log.info("Draft %s at Rescale, whose execution is over, is deleted", job_id)
        return True
    if not isinstance(verdict, Waiting):
        return True
    if verdict.stopping and not force:
        return False
    crash_points.reach("rescale.end.before")
    client.run(stop(job_id, StopMode.FORCE if force else StopMode.GRACEFUL))
    crash_points.reach("rescale.end.after")
    log.info("Job %s at Rescale, whose execution is over, is told to stop", job_id)
    return False
