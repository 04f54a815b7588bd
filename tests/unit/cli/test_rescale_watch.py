# SPDX-License-Identifier: Apache-2.0
"""Waiting for a job on the command line."""

from __future__ import annotations

from typing import Any

from scale_airflow.cli.rescale_watch import look, wait
from scale_airflow.rescale.models import JobStatus


class Client:
    """Shows one history after the other, the last one again and again."""

    def __init__(self, *histories: list[JobStatus]):
        self.histories = list(histories)

    def all(self, call: Any) -> list[JobStatus]:
        if call.path.endswith("/cluster_statuses/"):
            return []
        return self.histories.pop(0) if len(self.histories) > 1 else self.histories[0]


RUNS = [JobStatus("Executing")]
DONE = [JobStatus("Completed", None, "Completed successfully")]


def test_a_job_that_was_just_started_may_look_like_a_draft() -> None:
    seen: list[str] = []
    client: Any = Client([], [], RUNS, DONE)
    end = wait(client, "job", interval=0, on_look=lambda each: seen.append(each.news), late=60)
    assert end.outcome == "succeeded"
    assert seen == ["Executing", "succeeded"]


def test_a_draft_is_not_waited_for_otherwise() -> None:
    client: Any = Client([])
    assert wait(client, "job", interval=0).outcome == "draft"
    assert wait(client, "job", interval=0, late=0.05).outcome == "draft"


def test_what_is_told_of_a_job() -> None:
    stopping: Any = Client([JobStatus("Stopping"), JobStatus("Executing")])
    assert look(stopping, "job").news == "Stopping, somebody stops it"
    failed: Any = Client([JobStatus("Completed", None, "A run failed")])
    assert look(failed, "job").news.startswith("failed. ")
    assert look(failed, "job").is_final
