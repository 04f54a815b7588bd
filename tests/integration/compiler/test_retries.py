# SPDX-License-Identifier: Apache-2.0
"""When a compiled task is tried again: at once where Scale wants it, else after a pause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from scale_airflow.compiler.dags import job_dag
from scale_airflow.errors import ScaleApiError

INTERFACE = {"version": "1.0", "command": "make", "command_arguments": ""}


@pytest.fixture
def task() -> Any:
    return job_dag(name="maker", version="1", revision=1, title=None, interface=INTERFACE).tasks[0]


def delay(task: Any, error: Exception) -> timedelta:
    decided = task.retry_policy.evaluate(error, 1, task.retries).retry_delay
    return task.retry_delay if decided is None else decided


def test_a_retry_that_scale_wants_comes_at_once(task: Any) -> None:
    assert delay(task, AirflowException("Try 1 of 3 failed: the job is tried again.")) == timedelta(0)


@pytest.mark.parametrize("error", [ScaleApiError("away"), OSError("broken"), AirflowFailException("over")])
def test_disturbances_are_not_tried_again_in_a_rush(task: Any, error: Exception) -> None:
    assert delay(task, error) >= timedelta(seconds=1)


def test_airflow_never_ends_the_tries_before_scale_does(task: Any) -> None:
    assert task.retries >= 1_000_000
    assert task.execution_timeout is None
    assert task.retry_exponential_backoff == 0
