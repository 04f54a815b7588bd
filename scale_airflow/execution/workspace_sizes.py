# SPDX-License-Identifier: Apache-2.0
"""What the API server and the node agents say to each other about how full the disks of workspaces are."""

from __future__ import annotations

from dataclasses import dataclass

from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.execution.wire import Message


@dataclass(frozen=True)
class WorkspaceList(Message):
    """The workspaces that are in use."""

    workspaces: tuple[WorkspaceRef, ...]


@dataclass(frozen=True)
class WorkspaceSize(Message):
    """How many bytes the file system of a workspace has, and how many of them are used."""

    workspace_id: int
    used_size: int
    total_size: int


@dataclass(frozen=True)
class SizesReport(Message):
    """What one host can say; it leaves out the workspaces that it does not see."""

    sizes: tuple[WorkspaceSize, ...]
