# SPDX-License-Identifier: Apache-2.0
"""How a job stands, now or until it ends, for the actions of ``airflow rescale``."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scale_airflow.rescale.endpoints import list_cluster_statuses, list_statuses
from scale_airflow.rescale.verdict import Draft, Failed, Succeeded, Verdict, Waiting, Watch

if TYPE_CHECKING:
    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.models import ClusterStatus, JobStatus


@dataclass(frozen=True)
class Standing:
    """What a look at a job shows."""

    statuses: Sequence[JobStatus]
    clusters: Sequence[ClusterStatus]
    verdict: Verdict

    @property
    def is_final(self) -> bool:
        """Whether nothing will come of the job any more without somebody's doing; so also for a draft."""
        return not isinstance(self.verdict, Waiting)

    @property
    def is_executing(self) -> bool:
        """Whether its commands run."""
        return isinstance(self.verdict, Waiting) and self.verdict.executing

    @property
    def outcome(self) -> str:
        """One word: draft, waiting, succeeded or failed."""
        return type(self.verdict).__name__.lower()

    @property
    def news(self) -> str:
        """What a user waits to hear."""
        verdict = self.verdict
        if isinstance(verdict, Waiting):
            return f"{verdict.status}, somebody stops it" if verdict.stopping else verdict.status
        if isinstance(verdict, Failed):
            return f"failed. {verdict.reason}"
        if isinstance(verdict, Draft):
            return "saved, but never submitted"
        assert isinstance(verdict, Succeeded)
        return "succeeded"


def look(client: RescaleClient, job_id: str, watch: Watch | None = None) -> Standing:
    """Read how a job stands; its cluster first, because the job's end is told before its cluster's.

    :param watch: for looking again and again; without one the job is judged by this look alone.
    """
    clusters = client.all(list_cluster_statuses(job_id))
    statuses = client.all(list_statuses(job_id))
    verdict = (watch or Watch(grace=0.0)).look(statuses, clusters, time.monotonic())
    return Standing(statuses, clusters, verdict)


def wait(
    client: RescaleClient,
    job_id: str,
    *,
    interval: float,
    on_look: Callable[[Standing], None] = lambda standing: None,
    late: float = 0.0,
) -> Standing:
    """Look until the job has ended, and return the last look.

    :param interval: seconds between two looks, more or less.
    :param on_look: is called with each.
    :param late: seconds for which a job that was just started may look as if it had not been.
    """
    watch = Watch()
    begun = time.monotonic()
    while True:
        standing = look(client, job_id, watch)
        is_late = isinstance(standing.verdict, Draft) and time.monotonic() - begun < late
        if not is_late:
            on_look(standing)
            if standing.is_final:
                return standing
        time.sleep(interval * random.uniform(0.8, 1.1))  # noqa: S311 - jitter, no secret
