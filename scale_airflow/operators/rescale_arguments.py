# SPDX-License-Identifier: Apache-2.0
"""The arguments of RescaleSubmitJobOperator, and which of them are templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath
from airflow.sdk.configuration import conf

from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_templates import RescaleTemplates
from scale_airflow.rescale.stopping import StopMode
from scale_airflow.rescale.verdict import FailureDetection
from scale_airflow.rescale.waiting import OUTAGE_BUDGET
from scale_airflow.triggers.rescale import POLLING_INTERVAL


class RescaleJobArguments(RescaleTemplates):
    """What a task that runs a job on Rescale is told; RescaleSubmitJobOperator says what each means."""

    template_fields: Sequence[str] = (
        "job",
        "template_from_job",
        "name",
        "command",
        "analysis",
        "core_type",
        "env_vars",
        "project_id",
        "inputs",
        "storage_devices",
        "download_to",
        "output_filters",
        "max_cost",
        "rescale_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012 - as Airflow has it
        "job": "json",
        "env_vars": "json",
        "inputs": "json",
        "command": "bash",
    }

    def __init__(
        self,
        *,
        job: Mapping[str, Any] | str | None = None,
        template_from_job: str | None = None,
        name: str | None = None,
        command: str | None = None,
        analysis: str | Mapping[str, Any] | None = None,
        core_type: str | None = None,
        cores_per_slot: int | None = None,
        slots: int | None = None,
        walltime: float | None = None,
        memory_mb: int | None = None,
        category: str | None = None,
        env_vars: Mapping[str, str] | None = None,
        project_id: str | None = None,
        low_priority: bool | None = None,
        inputs: Sequence[Any] | None = None,
        storage_devices: Sequence[str] | None = None,
        download_to: str | ObjectStoragePath | None = None,
        output_filters: Sequence[str] | None = None,
        delete_on_success: bool = False,
        max_cost: float | str | None = None,
        rescale_conn_id: str = RescaleHook.default_conn_name,
        wait_for_termination: bool = True,
        deferrable: bool | None = None,
        polling_interval: float = POLLING_INTERVAL,
        timeout: float | timedelta | None = None,
        stop_on_timeout: bool = True,
        durable: bool = True,
        cancel_on_kill: bool = True,
        stop_mode: str = StopMode.GRACEFUL.value,
        failure_detection: str = FailureDetection.STRICT.value,
        follow_log: bool = True,
        failure_lines: int = 40,
        outage_budget: float = OUTAGE_BUDGET,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.job = job
        self.template_from_job = template_from_job
        self.name = name
        self.command = command
        self.analysis = analysis
        self.core_type = core_type
        self.cores_per_slot = cores_per_slot
        self.slots = slots
        self.walltime = walltime
        self.memory_mb = memory_mb
        self.category = category
        self.env_vars = env_vars
        self.project_id = project_id
        self.low_priority = low_priority
        self.inputs = inputs
        self.storage_devices = storage_devices
        self.download_to = download_to
        self.output_filters = output_filters
        self.delete_on_success = delete_on_success
        self.max_cost = max_cost
        self.rescale_conn_id = rescale_conn_id
        self.wait_for_termination = wait_for_termination
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=False)
            if deferrable is None
            else deferrable
        )
        self.polling_interval = polling_interval
        self.timeout = timeout
        self.stop_on_timeout = stop_on_timeout
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.stop_mode = StopMode(stop_mode).value
        self.failure_detection = FailureDetection(failure_detection).value
        self.follow_log = follow_log
        self.failure_lines = failure_lines
        self.outage_budget = outage_budget
