# SPDX-License-Identifier: Apache-2.0
"""Query parameters that several lists share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from scale_airflow.api_plugin.parameters import Identifier
from scale_airflow.services.work_lists import JobTypeFilter


async def job_types(
    job_type_id: Annotated[
        list[Identifier], Query(description="Only of the job type with this identifier; repeatable.")
    ] = [],  # noqa: B006 - FastAPI copies it
    job_type_name: Annotated[
        list[str], Query(description="Only of job types with this name; repeatable.")
    ] = [],  # noqa: B006
    job_type_category: Annotated[
        list[str], Query(description="Only of job types of this category; repeatable.")
    ] = [],  # noqa: B006
) -> JobTypeFilter:
    """Read the filters by job type."""
    return JobTypeFilter(tuple(job_type_id), tuple(job_type_name), tuple(job_type_category))


JobTypesDep = Annotated[JobTypeFilter, Depends(job_types)]
