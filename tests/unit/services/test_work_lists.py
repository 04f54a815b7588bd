# SPDX-License-Identifier: Apache-2.0
"""A filter that filters nothing is known as such, however nothing was given: it would mean every job."""

from __future__ import annotations

import pytest

from scale_airflow.services.work_lists import JobFilter, JobTypeFilter
from scale_airflow.store.models import utcnow


@pytest.mark.parametrize(
    "wanted",
    [JobFilter(), JobFilter(job_ids=[], job_types=JobTypeFilter(ids=[], names=()), error_names=[])],
)
def test_nothing_is_filtered(wanted: JobFilter) -> None:
    assert wanted.means_all


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter("FAILED"),
        JobFilter(job_ids=[0]),
        JobFilter(job_types=JobTypeFilter(ids=[1])),
        JobFilter(job_types=JobTypeFilter(names=["a"])),
        JobFilter(job_types=JobTypeFilter(categories=["a"])),
        JobFilter(started=utcnow()),
        JobFilter(ended=utcnow()),
        JobFilter(error_names=["nfs"]),
    ],
)
def test_something_is_filtered(wanted: JobFilter) -> None:
    assert not wanted.means_all
