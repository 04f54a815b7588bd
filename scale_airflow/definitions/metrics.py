# SPDX-License-Identifier: Apache-2.0
"""Which metrics there are (specification: Metrics Services): two types, their groups and columns.

A type counts, for each UTC day and each of its choices (job types, or Strike processes), what came to its end
on that day. Every measured quantity has four columns: sum, minimum, maximum and average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

AGGREGATES = {"sum": "Total", "min": "Minimum", "max": "Maximum", "avg": "Average"}
OVERVIEW = "overview"


@dataclass(frozen=True, slots=True)
class MetricsGroup:
    """A collection of related columns."""

    name: str
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class MetricsColumn:
    """One statistic: what it counts or measures, in which unit, and how several values become one."""

    name: str
    title: str
    description: str
    units: str
    group: str
    aggregate: str

    @property
    def is_count(self) -> bool:
        """Whether it counts things, instead of measuring them."""
        return self.group == OVERVIEW


@dataclass(frozen=True, slots=True)
class MetricsType:
    """A kind of metrics.

    :param filters: which fields of a choice tell it from the others, each with its type.
    :param counted: the statuses that are counted, in the order of their columns.
    :param done: the status of what is measured; averages are those of as many things as have it.
    """

    name: str
    title: str
    description: str
    filters: tuple[tuple[str, str], ...]
    groups: tuple[MetricsGroup, ...]
    columns: tuple[MetricsColumn, ...]
    counted: tuple[str, ...]
    done: str

    @property
    def measured(self) -> tuple[str, ...]:
        """The groups whose columns measure something, such as ``queue_time``."""
        return tuple(group.name for group in self.groups if group.name != OVERVIEW)


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A measured quantity, from which a group and its four columns are made."""

    name: str
    title: str
    description: str
    units: str
    words: str

    def group(self) -> MetricsGroup:
        return MetricsGroup(self.name, self.title, self.description)

    def columns(self) -> Iterator[MetricsColumn]:
        for aggregate, word in AGGREGATES.items():
            yield MetricsColumn(
                f"{self.name}_{aggregate}",
                f"{self.title} ({aggregate.capitalize()})",
                f"{word} {self.words}.",
                self.units,
                self.name,
                aggregate,
            )


def _count(status: str, description: str) -> MetricsColumn:
    return MetricsColumn(
        f"{status}_count", f"{status.capitalize()} Count", description, "count", OVERVIEW, "sum"
    )


def _make(
    name: str,
    title: str,
    description: str,
    *,
    filters: tuple[str, ...],
    of: str,
    counts: dict[str, str],
    done: str,
    quantities: tuple[_Quantity, ...],
) -> MetricsType:
    overview = MetricsGroup(OVERVIEW, "Overview", f"Overall counts based on {of} status.")
    overall = (*counts.items(), ("total", f"Number of {of}s of all these kinds."))
    return MetricsType(
        name,
        title,
        description,
        tuple((field, "string") for field in filters),
        (overview, *(quantity.group() for quantity in quantities)),
        (
            *(_count(status, text) for status, text in overall),
            *(column for quantity in quantities for column in quantity.columns()),
        ),
        tuple(status.upper() for status in counts),
        done,
    )


JOB_TYPES = _make(
    "job-types",
    "Job Types",
    "Metrics for jobs and executions grouped by job type.",
    filters=("name", "version"),
    of="job",
    counts={
        "completed": "Number of successfully completed jobs.",
        "failed": "Number of incomplete failed jobs.",
        "canceled": "Number of incomplete canceled jobs.",
    },
    done="COMPLETED",
    quantities=(
        _Quantity(
            "queue_time",
            "Queue Time",
            "How long jobs waited in the queue.",
            "seconds",
            "time the job waited in the queue",
        ),
        _Quantity(
            "pre_time",
            "Pre-task Time",
            "How long jobs were prepared.",
            "seconds",
            "time spent running the pre-task",
        ),
        _Quantity(
            "job_time",
            "Job Task Time",
            "How long the algorithms of jobs ran.",
            "seconds",
            "time spent running the job task",
        ),
        _Quantity(
            "post_time",
            "Post-task Time",
            "How long the results of jobs were stored.",
            "seconds",
            "time spent running the post-task",
        ),
        _Quantity(
            "run_time",
            "Run Time",
            "How long jobs ran in all.",
            "seconds",
            "time spent running the pre, job, and post tasks",
        ),
        _Quantity(
            "stage_time",
            "Stage Time",
            "How long jobs were between their tasks.",
            "seconds",
            "overhead time spent managing tasks",
        ),
    ),
)

INGESTS = _make(
    "ingests",
    "Ingests",
    "Metrics for ingests grouped by strike process.",
    filters=("name",),
    of="ingest",
    counts={
        "deferred": "Number of files that no rule takes.",
        "ingested": "Number of files successfully ingested.",
        "errored": "Number of files that failed to ingest.",
        "duplicate": "Number of files that were there already.",
    },
    done="INGESTED",
    quantities=(
        _Quantity(
            "file_size", "File Size", "How large ingested files are.", "bytes", "size of the ingested files"
        ),
        _Quantity(
            "transfer_time",
            "Transfer Time",
            "How long ingested files took to arrive.",
            "seconds",
            "time spent transferring files",
        ),
        _Quantity(
            "ingest_time",
            "Ingest Time",
            "How long it took to store ingested files.",
            "seconds",
            "time spent ingesting files",
        ),
    ),
)

METRICS_TYPES = (INGESTS, JOB_TYPES)
"""All types, in the order of their names."""
