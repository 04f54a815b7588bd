# SPDX-License-Identifier: Apache-2.0
"""What the runtime endpoints take and answer, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from scale_airflow.api_plugin.models import wire
from scale_airflow.execution import order
from scale_airflow.execution.file_duties import (
    DutyAnswer,
    DutyRequest,
    DutyResult,
    SweepAnswer,
    SweepQuestion,
)
from scale_airflow.execution.ingest import messages
from scale_airflow.execution.wire import Message
from scale_airflow.execution.workspace_sizes import SizesReport, WorkspaceList

Kind = type[Message] | dict[str, Any]
"""A wire type, or an example of an object: the kinds of its values are what the object must have."""


@dataclass(frozen=True)
class Exchange:
    """A request of a worker and its answer.

    :param login: ``worker`` for the secret of the workers' connection, ``execution`` for a claim's token.
    :param takes: the body; None for none.
    """

    login: Literal["worker", "execution"]
    takes: Kind | None
    gives: Kind


LOGINS: dict[str, Any] = {
    "worker": {
        "type": "http",
        "scheme": "bearer",
        "description": "The secret of the connection `scale_default`, which workers, triggers and agents "
        "have (`airflow scale rotate-secret`).",
    },
    "execution": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token that a claim or an ingest batch has given: for that execution alone.",
    },
}
"""How a worker is known; a user's login is of no use here."""

RUNTIME: dict[str, Exchange] = {
    "runtime_claim": Exchange("worker", order.ClaimRequest, order.ClaimAnswer),
    "runtime_reserve": Exchange("worker", order.ClaimRequest, order.ReserveAnswer),
    "runtime_append_log": Exchange("execution", order.LogChunk, {"more": True}),
    "runtime_beat": Exchange("execution", order.BeatReport, order.BeatAnswer),
    "runtime_complete": Exchange("execution", order.CompletionReport, order.ReportAnswer),
    "runtime_fail": Exchange("execution", order.FailureReport, order.ReportAnswer),
    "runtime_node_beat": Exchange("worker", order.NodeBeat, order.NodeAnswer),
    "runtime_list_places": Exchange("worker", None, {"workspaces": {}, "strikes": {}}),
    "runtime_list_dag_files": Exchange(
        "worker",
        None,
        {
            "files": [
                {
                    "id": 7,
                    "file_name": "scale_recipe.terrain.1_0_0.a83bc4a7.r1.py",
                    "sha256": "c6f78f2f834eb5a03201c1c643c26bb8f5a543bc9ba0afa287d3422168bb9d22",
                    "hidden": False,
                }
            ]
        },
    ),
    "runtime_read_dag_file": Exchange("worker", None, {}),
    "runtime_strikes_watch": Exchange("worker", messages.WatchRequest, messages.WatchAnswer),
    "runtime_strikes_sweep": Exchange("worker", messages.SweepRequest, messages.SweepAnswer),
    "runtime_strikes_moved": Exchange("worker", messages.MovedRequest, messages.MovedAnswer),
    "runtime_strikes_settle": Exchange("worker", messages.SettleRequest, messages.SettleAnswer),
    "runtime_strikes_progress": Exchange("worker", messages.ProgressRequest, messages.ProgressAnswer),
    "runtime_strikes_batch": Exchange("worker", messages.BatchRequest, messages.BatchAnswer),
    "runtime_strikes_cleared": Exchange("worker", messages.ClearedRequest, messages.Done),
    "runtime_strikes_plan": Exchange("execution", messages.PlanRequest, messages.PlanAnswer),
    "runtime_strikes_stored": Exchange("execution", messages.StoredRequest, messages.StoredAnswer),
    "runtime_strikes_finish": Exchange("execution", messages.FinishRequest, messages.Done),
    "runtime_clock_fire": Exchange(
        "worker", {"scheduled": "2026-01-31T00:00:00Z"}, {"message": "Recipe 12 was queued."}
    ),
    # A day that was worked out or failed, or word of when there is one.
    "runtime_clock_compute_metrics": Exchange("worker", messages.TaskIdentity, {}),
    "runtime_files_take": Exchange("worker", DutyRequest, DutyAnswer),
    "runtime_files_record": Exchange("worker", DutyResult, {}),
    "runtime_files_choose": Exchange("worker", SweepQuestion, SweepAnswer),
    "runtime_workspaces_list_workspaces": Exchange("worker", None, WorkspaceList),
    "runtime_workspaces_record": Exchange("worker", SizesReport, {}),
}
"""Every runtime endpoint by the name of its operation; a test misses those that are not here."""


def content_of(kind: Kind) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body or an answer: its schema, and an example."""
    if isinstance(kind, dict):
        return {"schema": _schema(kind), "example": kind}
    return {"schema": wire.schema_of(kind), "example": wire.example_of(kind)}


_TYPES = {str: "string", bool: "boolean", int: "integer"}


def _schema(example: Any) -> dict[str, Any]:
    """Return the schema of what looks like an example."""
    if isinstance(example, list):
        return {"type": "array", "items": _schema(example[0])}
    if not isinstance(example, dict):
        return {"type": _TYPES[type(example)]}
    if not example:
        return {"type": "object"}
    properties = {name: _schema(value) for name, value in example.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}
