# SPDX-License-Identifier: Apache-2.0
"""What takes several calls, written once for both clients: ``client.run(change_job("RcAFeb", {…}))``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scale_airflow.errors import Fault, InvalidRequest, RescaleRefused
from scale_airflow.rescale.advice import advised
from scale_airflow.rescale.calls import Flow
from scale_airflow.rescale.costs import (
    Estimate,
    check_cost,
    job_estimate,
    price_of,
    wants_cheapest,
    with_cheapest,
)
from scale_airflow.rescale.documents import decimal_of
from scale_airflow.rescale.endpoints import (
    add_tag,
    create_job,
    delete_tag,
    get_job,
    list_analyses,
    list_core_types,
    list_prices,
    update_job,
)
from scale_airflow.rescale.job_templates import body_of, merged
from scale_airflow.rescale.models import Analysis, CoreType, Job


@dataclass(frozen=True)
class Priced:
    """A job's body whose hardware is chosen, and what it costs at most."""

    body: dict[str, Any]
    estimate: Estimate


def create(body: Mapping[str, Any]) -> Flow[Job]:
    """Save a job; a refusal says what Rescale would have taken.

    :raises RescaleRefused: with the projects, core types, numbers of cores, versions that there are.
    :raises RescaleUncertain: if it may have been saved.
    :raises InvalidRequest: if the body has a key that Rescale would silently ignore.
    """
    check_spelling(body)
    refused: RescaleRefused
    try:
        job: Job = yield create_job(body)
        return job
    except RescaleRefused as error:
        refused = error
    raise (yield from advised(refused, body))


def create_like(job_id: str, changes: Mapping[str, Any] | None = None) -> Flow[Job]:
    """Save a new job like a saved one.

    :param changes: what is different (see :func:`~scale_airflow.rescale.job_templates.merged`).
    :raises RescaleRefused: if the new job would read files that were deleted since: it could be saved, but
        not submitted.
    """
    template: Job = yield get_job(job_id)
    body = merged(body_of(template), changes or {})
    faults = _deleted_inputs(template, body)
    if faults:
        shown = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        raise RescaleRefused(f"No job like {job_id} can be made: {shown}", job_id=job_id, faults=faults)
    return (yield from create(body))


def _deleted_inputs(template: Job, body: Mapping[str, Any]) -> list[Fault]:
    deleted = {
        file.id: file.name
        for analysis in template.analyses
        for file in analysis.input_files
        if file.is_deleted
    }
    return [
        Fault(
            f"/jobanalyses/{number}/inputFiles/{index}",
            f"the file {deleted[file['id']]!r} ({file['id']}) was deleted; send it again and name its new id",
            "rescale.deleted-input",
        )
        for number, analysis in enumerate(body["jobanalyses"])
        for index, file in enumerate(analysis.get("inputFiles") or ())
        if isinstance(file, Mapping) and file.get("id") in deleted
    ]


def change_job(job_id: str, changes: Mapping[str, Any]) -> Flow[Job]:
    """Change a saved job, and make sure that it has changed.

    Rescale answers 200 also where it changes nothing, because the job was submitted already.

    :param changes: a part of a job's body.
    :raises RescaleRefused: if the job is as it was; ``faults`` names what has not changed.
    """
    yield update_job(job_id, changes)
    job: Job = yield get_job(job_id)
    faults = differences(changes, job.document)
    if faults:
        shown = ", ".join(fault.path for fault in faults)
        raise RescaleRefused(
            f"Rescale has accepted the change of job {job_id} but not made it ({shown}): a job can't be "
            "changed once it is submitted. Create a new one like it.",
            status=200,
            job_id=job_id,
            faults=faults,
        )
    return job


def priced(body: Mapping[str, Any], max_cost: Decimal | float | str | None = None) -> Flow[Priced]:
    """Choose the hardware that is left to us, and say what the job costs at most.

    :param max_cost: what it may cost; None: anything.
    :raises RescaleCostRefused: if it could cost more, or its cost can't be told; with the figure.
    :raises RescaleRefused: if no hardware fits.
    """
    core_types: list[CoreType] = yield list_core_types()
    economy = body.get("isLowPriority") is True
    # The list of prices is looked at only for hardware that does not tell its own.
    silent = any(price_of(core_type, economy=economy) is None for core_type in core_types)
    prices = (yield list_prices()) if silent else []
    chosen = dict(body)
    if wants_cheapest(body):
        analyses: list[Analysis] = yield list_analyses()
        allowed = {
            (analysis.code, version.code): version.allowed_core_types
            for analysis in analyses
            for version in analysis.versions
        }
        chosen = with_cheapest(body, core_types, prices, allowed=allowed)
    found = job_estimate(chosen, core_types, prices)
    if max_cost is not None:
        check_cost(found, max_cost)
    return Priced(chosen, found)


def add_tags(job_id: str, tags: Iterable[str]) -> Flow[None]:
    """Give a job tags, besides those that it has."""
    for tag in tags:
        yield add_tag(job_id, tag)


def delete_tags(job_id: str, tags: Iterable[str]) -> Flow[None]:
    """Take tags off a job."""
    for tag in tags:
        yield delete_tag(job_id, tag)


def check_spelling(body: Mapping[str, Any]) -> None:
    """Refuse keys that Rescale is known to ignore without a word.

    :raises InvalidRequest: naming the right one. Rescale's own tutorial misspells ``projectId``.
    """
    wrong = [key for key in ("project_id", "job_analyses", "jobAnalyses", "is_low_priority") if key in body]
    right = {"project_id": "projectId", "is_low_priority": "isLowPriority"}
    if wrong:
        raise InvalidRequest(
            "The job has keys that Rescale ignores.",
            [Fault(f"/{key}", f"write {right.get(key, 'jobanalyses')!r}", "rescale.key") for key in wrong],
        )


def differences(wanted: Any, found: Any, path: str = "") -> list[Fault]:
    """Return where a document does not hold what is wanted; what it holds besides does not matter."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return [] if not wanted and found is None else [Fault(path, "is not there", "rescale.unchanged")]
        return [
            fault
            for key, value in wanted.items()
            for fault in differences(value, found.get(key), f"{path}/{key}")
        ]
    if isinstance(wanted, (list, tuple)):
        rows = found if isinstance(found, list) else []
        if len(rows) != len(wanted):
            return [Fault(path, f"has {len(rows)} entries, not {len(wanted)}", "rescale.unchanged")]
        return [
            fault
            for index, pair in enumerate(zip(wanted, rows, strict=True))
            for fault in differences(*pair, f"{path}/{index}")
        ]
    if wanted == found or (wanted in (None, "") and found in (None, "")):
        return []
    number = decimal_of(wanted)
    if number is not None and number == decimal_of(found):
        return []
    return [Fault(path, f"is {_shown(found)}, not {_shown(wanted)}", "rescale.unchanged")]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
