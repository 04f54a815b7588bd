# SPDX-License-Identifier: Apache-2.0
"""What the API server and the node agents say to each other about files that are to be moved or removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scale_airflow.execution.order import WorkspaceRef
from scale_airflow.execution.wire import Message

DutyKind = Literal["MOVE", "REMOVE", "SWEEP"]
DutyOutcome = Literal["done", "taken", "missing", "failed"]


@dataclass(frozen=True)
class DutyRequest(Message):
    """An agent asks what there is to do; ``process`` tells it apart from the one that ran there before."""

    agent_id: str
    process: str


@dataclass(frozen=True)
class DutyOrder(Message):
    """One thing to do to a workspace; all of it may be repeated without harm.

    - MOVE: let the file at ``path`` be found at ``target`` too; ``checksum`` is its sha256 where known.
    - REMOVE: delete the file at ``path``; with ``target`` only if it is the file that lies there too.
    - SWEEP: delete those files in the folder ``path`` that the API server names when it is asked.
    """

    id: int
    kind: DutyKind
    workspace: WorkspaceRef
    path: str
    target: str | None
    checksum: str | None


@dataclass(frozen=True)
class DutyAnswer(Message):
    """What the agent does next, and how many seconds it waits when that is nothing."""

    duties: tuple[DutyOrder, ...]
    interval: float


@dataclass(frozen=True)
class DutyResult(Message):
    """What became of one duty: ``taken`` if other content is in the way, ``missing`` if there is no file."""

    agent_id: str
    process: str
    duty_id: int
    outcome: DutyOutcome
    message: str | None


@dataclass(frozen=True)
class SweepQuestion(Message):
    """Which of these files of the folder that is swept belong to nothing?"""

    agent_id: str
    process: str
    duty_id: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class SweepAnswer(Message):
    """The files that are to be deleted."""

    remove: tuple[str, ...]
