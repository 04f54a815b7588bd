# SPDX-License-Identifier: Apache-2.0
"""Which requests the benchmark of the REST API sends, and what their times are held against."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import quote

from measuring.report import Ratio

from api_sides.filling import BUSY, PREFIX

ALL, STATUS, TYPE, TIME = "all", "of a status", "of a type", "of a day"


@dataclass(frozen=True)
class Probe:
    """A request that is measured, and the filter of Airflow's list that it is compared with."""

    name: str
    path: str
    kind: str
    counts: str | None = None
    """The statement whose result the answer's ``count`` must be."""


@dataclass
class Findings:
    """All that is measured, in milliseconds and per second."""

    alone: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    together: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def probes(type_id: int, type_name: str, job_id: int, day: datetime) -> list[Probe]:
    """Return the requests to measure."""
    page = "order=-last_modified&page_size=100"
    since = quote(day.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    jobs = "SELECT count(*) FROM scale_job"
    products = "SELECT count(*) FROM scale_file WHERE kind = 'PRODUCT' AND has_been_published"
    listed = {
        "/jobs/": ("", ALL, jobs),
        "/jobs/ of a rare status": ("&status=FAILED", STATUS, f"{jobs} WHERE status = 'FAILED'"),
        "/jobs/ of a frequent status": ("&status=COMPLETED", STATUS, f"{jobs} WHERE status = 'COMPLETED'"),
        "/jobs/ of a type": (f"&job_type_id={type_id}", TYPE, f"{jobs} WHERE job_type_id = {type_id}"),
        "/jobs/ of a type and status": (
            f"&job_type_name={type_name}&status=COMPLETED",
            TYPE,
            f"{jobs} WHERE job_type_id = {type_id} AND status = 'COMPLETED'",
        ),
        "/jobs/ of a day": (
            f"&started={since}",
            TIME,
            f"{jobs} WHERE last_modified >= '{day.replace(microsecond=0)}'",
        ),
    }
    found = [
        Probe(name, f"/scale/api/jobs/?{page}{query}", kind, counts)
        for name, (query, kind, counts) in listed.items()
    ]
    return [
        *found,
        Probe("/jobs/{id}/", f"/scale/api/jobs/{job_id}/", ALL),
        Probe("/job-types/status/", "/scale/api/job-types/status/", ALL),
        Probe("/job-types/{id}/", f"/scale/api/job-types/{type_id}/", ALL),
        Probe("/queue/status/", "/scale/api/queue/status/", ALL),
        Probe("/products/", f"/scale/api/products/?{page}", ALL, products),
        Probe(
            "/products/ of a type",
            f"/scale/api/products/?{page}&job_type_id={type_id}",
            TYPE,
            f"{products} AND job_type_id = {type_id}",
        ),
        Probe("/nodes/status/", "/scale/api/nodes/status/", ALL),
        Probe("/load/", "/scale/api/load/", ALL),
    ]


def competitors(day: datetime) -> list[Probe]:
    """Return Airflow's list with each kind of filter."""
    since = quote(day.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    filters = {
        ALL: ("~", ""),
        STATUS: ("~", "&state=failed"),
        TYPE: (f"{PREFIX}-{BUSY}", ""),
        TIME: ("~", f"&updated_at_gte={since}"),
    }
    return [
        Probe(airflow(kind), f"/api/v2/dags/{dag}/dagRuns/~/taskInstances?limit=100{query}", kind)
        for kind, (dag, query) in filters.items()
    ]


def airflow(kind: str) -> str:
    """Return the name of Airflow's list with a kind of filter."""
    return f"Airflow's task instances, {kind}"


def database_of(count: int) -> str:
    """Return the name of the database with so many jobs."""
    return f"jobs_{count}"


def rate_of(side: str, several: int) -> str:
    """Return the name of a rate: of what, by how many clients."""
    return f"{side}, {several} client{'s' if several > 1 else ''}"


def reading_ratios(
    found: Findings, kinds: Mapping[str, str], sizes: Sequence[int], clients: int
) -> dict[str, Ratio]:
    """Return how much faster than Airflow's list each request is, and how much slower than with few jobs.

    :param kinds: the kind of filter of each request, by its name.
    """
    small, big = database_of(min(sizes)), database_of(max(sizes))
    ratios: dict[str, Ratio] = {}
    for name, kind in kinds.items():
        theirs = statistics.median(found.alone[airflow(kind)][big])
        ours = statistics.median(found.alone[name][big])
        ratios[f"{name}: times faster than Airflow's list"] = Ratio(theirs / ours, 3, "higher")
        theirs = statistics.median(found.together[airflow(kind)])
        ours = statistics.median(found.together[name])
        what = f"{name}, {clients} clients: times faster than Airflow's list"
        ratios[what] = Ratio(theirs / ours, 3, "higher")
    for name in kinds:
        for count in sorted(sizes)[1:]:
            times = found.alone[name]
            growth = statistics.median(times[database_of(count)]) / statistics.median(times[small])
            what = f"{name}: time with {count} jobs, of that with {min(sizes)}"
            ratios[what] = Ratio(growth, 1.5, "lower")
    return ratios


def queueing_ratios(rates: Mapping[str, Sequence[float]], several: int) -> dict[str, Ratio]:
    """Return how many jobs are queued in the time in which Airflow makes a run; medians of the rounds."""
    goals = {"new-job": 1.0, "new-jobs": 10.0}
    ratios = {}
    for clients in (1, several):
        for side, goal in goals.items():
            if (ours := rates.get(rate_of(side, clients))) is None:
                continue
            pairs = zip(ours, rates[rate_of("dagRuns", clients)], strict=False)
            value = statistics.median(one / other for one, other in pairs)
            what = f"POST /queue/{rate_of(side + '/', clients)}: jobs per second, of Airflow's runs"
            ratios[what] = Ratio(value, goal, "higher")
    return ratios
