# SPDX-License-Identifier: Apache-2.0
"""What a task asks Rescale for, and the job's body that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from scale_airflow.errors import Fault, InvalidDocument, RescaleError
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_inputs import read_inputs, upload_inputs, upload_volumes
from scale_airflow.rescale.costs import wants_cheapest
from scale_airflow.rescale.job_body import (
    check,
    single_analysis,
    with_exit_codes,
    with_inputs,
    with_marker,
    with_preludes,
)
from scale_airflow.rescale.job_templates import body_of, merged
from scale_airflow.rescale.submission import Marker
from scale_airflow.rescale.verdict import FailureDetection

if TYPE_CHECKING:
    from scale_airflow.operators.rescale_arguments import RescaleJobArguments


@dataclass(frozen=True)
class JobOrder:
    """The rendered arguments that make the job, and nothing of how it is waited for.

    :param job: its document, or one as JSON or YAML text.
    :param single: the single values, as a part of a body.
    """

    job: Mapping[str, Any] | str | None
    template_from_job: str | None
    name: str
    single: Mapping[str, Any]
    inputs: Sequence[Any]
    storage_devices: Sequence[str]
    max_cost: float | str | None
    exit_codes: bool

    @classmethod
    def of(cls, operator: RescaleJobArguments) -> JobOrder:
        """Return what an operator asks for."""
        return cls(
            operator.job,
            operator.template_from_job,
            f"{operator.dag_id}.{operator.task_id}",
            single_analysis(
                name=operator.name,
                analysis=operator.analysis,
                command=operator.command,
                env_vars=operator.env_vars,
                project_id=operator.project_id,
                low_priority=operator.low_priority,
                hardware={
                    "coreType": operator.core_type,
                    "coresPerSlot": operator.cores_per_slot,
                    "slots": operator.slots,
                    "walltime": operator.walltime,
                    "memory": operator.memory_mb,
                    "category": operator.category,
                },
            ),
            list(operator.inputs or ()),
            list(operator.storage_devices or ()),
            operator.max_cost,
            operator.failure_detection == FailureDetection.EXIT_CODE.value,
        )

    def payload(self) -> dict[str, Any]:
        """Return what tells this order from another: what is asked for, not the ids that come of it."""
        return asdict(self)

    def body(self, hook: RescaleHook, marker: Marker, log: Any) -> dict[str, Any]:
        """Return the job's body: checked and priced first, then with its inputs uploaded.

        :raises InvalidDocument: with every fault of the job.
        :raises RescaleCostRefused: if it may cost too much.
        :raises TransferError: if an input can't be sent.
        """
        inputs = read_inputs(self.inputs)
        body = self._assembled(hook)
        for slip in check(body):
            log.warning("%s", slip)
        with_inputs(body, [one.reference("") for one in inputs])
        body = self._priced(hook, body, log)
        body = with_inputs(body, upload_inputs(hook, inputs, log))
        volumes, preludes = upload_volumes(hook, inputs, log)
        body = with_preludes(with_inputs(body, volumes), preludes)
        if self.exit_codes:
            body = with_exit_codes(body)
        return with_marker(body, marker)

    def _assembled(self, hook: RescaleHook) -> dict[str, Any]:
        body: dict[str, Any] = {"name": self.name}
        if self.template_from_job is not None:
            body = merged(body, body_of(hook.get_job(self.template_from_job)))
        return merged(merged(body, read_document(self.job)), self.single)

    def _priced(self, hook: RescaleHook, body: dict[str, Any], log: Any) -> dict[str, Any]:
        """Choose hardware, and say what the job costs at most."""
        needed = self.max_cost is not None or wants_cheapest(body)
        try:
            priced = hook.price_job(body, self.max_cost)
        except RescaleError as error:
            if needed:
                raise
            log.warning("What the job may cost can't be told: %s", error)
            return body
        if priced.estimate.total is None:
            log.warning("What the job may cost is %s", priced.estimate)
        else:
            log.info("The job may cost %s", priced.estimate)
        return priced.body


def read_document(job: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Return a job's document; a text is read as YAML, of which JSON is a part.

    :raises InvalidDocument: if it is no object.
    """
    if isinstance(job, str):
        try:
            job = yaml.safe_load(job)
        except yaml.YAMLError as error:
            raise _wrong(f"is neither JSON nor YAML: {error}") from None
    if job is None:
        return {}
    if not isinstance(job, Mapping):
        raise _wrong(f"must be an object with name, jobanalyses, …, not {type(job).__name__}")
    return dict(job)


def _wrong(problem: str) -> InvalidDocument:
    return InvalidDocument("Rescale job", [Fault("", f"The job {problem}", "rescale-job.document")])
