# SPDX-License-Identifier: Apache-2.0
"""Loads what tasks need before they are forked: a listener for the start of Airflow's long-lived processes.

LocalExecutor's workers are forks of the scheduler, the DAG processor's parsers forks of it, and each task is
one more. Modules that the first of them has loaded cost the others nothing; else every task of every job
spends a tenth of a second on imports before it can claim. Nothing else of Airflow's life is listened to:
listeners run inside the scheduler's transactions.
"""

from __future__ import annotations

import importlib
import logging

from airflow.listeners import hookimpl

#: What a job's task imports until its job runs; nothing that starts threads, which a fork would lose.
MODULES = (
    "scale_airflow.compiler.bundle",
    "scale_airflow.compiler.dags",
    "scale_airflow.operators.scale_job",
    "scale_airflow.hooks.scale",
    "scale_airflow.execution.host",
    "scale_airflow.execution.runner",
    "scale_airflow.execution.backends.docker",
    "scale_airflow.execution.backends.process",
)

log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: object) -> None:
    """Load the modules, once Airflow says that one of its own processes begins (not: a task)."""
    from airflow.jobs.job import Job

    if not isinstance(component, Job):
        return
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:  # the tasks that need it will say so themselves
            log.warning("%s can't be loaded beforehand: %s", name, error)
    _compile_schemas()


def _compile_schemas() -> None:
    """Read the documents that each task reads: a schema is compiled the first time that it is needed."""
    from scale_airflow.definitions.job_interface import JobInterface
    from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration

    JobInterface.parse({"version": "1.0", "command": "true", "command_arguments": ""})
    JobTypeConfiguration.parse({})
