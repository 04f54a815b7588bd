# SPDX-License-Identifier: Apache-2.0
"""All tables under one name: importing this module makes the metadata complete."""

from scale_airflow.store.base import Base, utcnow
from scale_airflow.store.files import FileAncestry, FileDuty, ScaleFile
from scale_airflow.store.ingests import INGEST_STATUSES, Ingest, Strike
from scale_airflow.store.metrics import JobLoad, Load, ingest_metrics, job_type_metrics
from scale_airflow.store.nodes import Node, Scheduler
from scale_airflow.store.remote import RemoteJob
from scale_airflow.store.system import ApiToken, DagFileRow, Repair
from scale_airflow.store.tallies import FileTally, JobTally
from scale_airflow.store.types import (
    ErrorModel,
    JobType,
    JobTypeRevision,
    RecipeType,
    RecipeTypeJobType,
    RecipeTypeRevision,
    TriggerRule,
    Workspace,
)
from scale_airflow.store.work import (
    EXECUTION_STATUSES,
    JOB_STATUSES,
    Job,
    JobExecution,
    JobInputFile,
    JobLog,
    QueueEntry,
    Recipe,
    TriggerEvent,
)

__all__ = [
    "EXECUTION_STATUSES",
    "INGEST_STATUSES",
    "JOB_STATUSES",
    "ApiToken",
    "Base",
    "DagFileRow",
    "ErrorModel",
    "FileAncestry",
    "FileDuty",
    "FileTally",
    "Ingest",
    "Job",
    "JobExecution",
    "JobInputFile",
    "JobLoad",
    "JobLog",
    "JobTally",
    "JobType",
    "JobTypeRevision",
    "Load",
    "Node",
    "QueueEntry",
    "Recipe",
    "RecipeType",
    "RecipeTypeJobType",
    "RecipeTypeRevision",
    "RemoteJob",
    "Repair",
    "ScaleFile",
    "Scheduler",
    "Strike",
    "TriggerEvent",
    "TriggerRule",
    "Workspace",
    "ingest_metrics",
    "job_type_metrics",
    "utcnow",
]
