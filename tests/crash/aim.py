# SPDX-License-Identifier: Apache-2.0
"""Which process comes by which crash point, so that a long run can have every point hit."""

from __future__ import annotations

API_SERVER = "API server"
COMMAND = "command line"
INGEST = "ingest task"
NODE = "node agent"
TASK = "task"
TRIGGERER = "triggerer"

_SERVED = (
    *("api.", "clock.", "dag_files.", "file_duties.", "publish.", "runtime.", "strike.", "tick."),
    "workspace_sizes.",
)
_NOT_SERVED = ("strike.move.", "strike.remove.", "strike.give_back.")
_OTHERS = {
    "agent.": NODE,
    "workspace.add_name.": NODE,
    "workspace.delete.": NODE,
    "workspace.drop_name.": NODE,
    "workspace.remove_folder.": NODE,
    "cli.": COMMAND,
    "permissions.": COMMAND,
    "trigger.": TRIGGERER,
    "ingest.": INGEST,
    "sensor.": INGEST,
    "strike.": INGEST,
}

TOGETHER = {API_SERVER: 30, COMMAND: 30, INGEST: 4, NODE: 30, TASK: 6, TRIGGERER: 2}
"""At how many points each kind of process may die at one time. Tasks are to get somewhere in between."""

HELPERS = {
    "agent.forget.": ("runner.report.after",),
    "docker.adopt.": ("docker.start.after", "runner.start.after"),
    "docker.remove_left.": ("docker.create.after", "docker.kill.after"),
    "scratch.clear.": ("process.start.before", "docker.create.before"),
    "workspace_sizes.": ("agent.beat.after",),
}
"""Points that are passed only after somebody has died at one of these."""


def is_served(point: str) -> bool:
    """Say whether it is the API server that comes by a point."""
    return point.startswith(_SERVED) and not point.startswith(_NOT_SERVED)


def process_at(point: str) -> str:
    """Return the kind of process that comes by a point."""
    if is_served(point):
        return API_SERVER
    return next((kind for start, kind in _OTHERS.items() if point.startswith(start)), TASK)


def helpers(point: str) -> tuple[str, ...]:
    """Return the points of which one has to be hit before this one is passed."""
    return next((names for start, names in HELPERS.items() if point.startswith(start)), ())


def out_of_reach(points: list[str], *, has_docker: bool, has_far: bool) -> dict[str, str]:
    """Return the points that a run can't pass, each with the reason."""
    found = {}
    for point in points:
        if not has_docker and point.startswith(("docker.", "agent.remove_container.")):
            found[point] = "there was no Docker engine"
        if not has_far and point.startswith(("workspace.copy.", "workspace.publish.")):
            found[point] = "there was no other file system to copy to"
        if point.startswith(("rescale.", "tick.take_remote_jobs.", "tick.record_remote_job.")):
            found[point] = "no job went to Rescale: its own tests kill workers there"
    return found
