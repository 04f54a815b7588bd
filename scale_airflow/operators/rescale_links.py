# SPDX-License-Identifier: Apache-2.0
"""Links from a task to its job on Rescale's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


class RescaleJobLink(BaseOperatorLink):
    """The job's page."""

    name = "Rescale job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; "" while there is no job."""
        return str(getattr(operator, "job_url", None) or "")


class RescaleResultsLink(BaseOperatorLink):
    """The results of the job's first run."""

    name = "Rescale results"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; "" while there is no job."""
        job_url = getattr(operator, "job_url", None)
        return f"{job_url}runs/1/results/" if job_url else ""


def job_url(base_url: str, job_id: str) -> str:
    """Return the address of a job's page."""
    return f"{base_url.rstrip('/')}/jobs/{job_id}/"


def push_links(context: Context, operator: Any) -> None:
    """Show the links at once, while the job runs; Airflow itself would when the task has ended."""
    for link in operator.operator_extra_links:
        context["ti"].xcom_push(key=link.xcom_key, value=link.get_link(operator, ti_key=context["ti"]))
