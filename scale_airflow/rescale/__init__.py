# SPDX-License-Identifier: Apache-2.0
"""Rescale from Python: a client with a synchronous and an asynchronous face, typed answers, fast transfers.

::

    from scale_airflow.rescale import RescaleClient, endpoints, load_credentials

    with RescaleClient(load_credentials()) as client:
        for job in client.pages(endpoints.list_jobs(state="not_completed")):
            print(job.id, job.name, job.status)
"""

from __future__ import annotations

from scale_airflow.rescale import conversations, costs, endpoints, models, studies
from scale_airflow.rescale.async_client import AsyncRescaleClient
from scale_airflow.rescale.calls import Call, Flow, Pause, Repeat, Scope
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import REGIONS, Credentials, Secret, load_credentials
from scale_airflow.rescale.moments import parse_moment
from scale_airflow.rescale.paging import Page, PagedCall
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.rates import RateBuckets

__all__ = [
    "REGIONS",
    "AsyncRescaleClient",
    "Call",
    "Credentials",
    "Flow",
    "Page",
    "PagedCall",
    "Pause",
    "RateBuckets",
    "Repeat",
    "RequestPolicy",
    "RescaleClient",
    "Scope",
    "Secret",
    "conversations",
    "costs",
    "endpoints",
    "load_credentials",
    "models",
    "parse_moment",
    "studies",
]
