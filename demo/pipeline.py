# SPDX-License-Identifier: Apache-2.0
"""The terrain example at work: drop a scene, follow what becomes of it, list the products."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from demo.client import Client
from demo.errors import DemoError
from demo.installation import Installation

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "terrain"
SETUP = EXAMPLE / "setup.json"
CONFIGURATION = EXAMPLE / "configuration.json"
SCENE = "jacksboro.zip"
RECIPE = ("terrain", "1.0.0")

ENDED = ("COMPLETED", "FAILED", "CANCELED")
STUCK = ("FAILED", "CANCELED", "ERRORED", "BLOCKED")


def expected_outputs() -> dict[str, list[str]]:
    """Return the media types that each job type of the example puts out, by the configuration alone."""
    configuration = json.loads(CONFIGURATION.read_text())
    return {
        job_type["name"]: sorted(output["media_type"] for output in job_type["interface"]["output_data"])
        for job_type in configuration["job_types"]
    }


def scene_bytes(broken: bool = False) -> bytes:
    """Return the example's input, made from the elevation model that matplotlib brings along."""
    content: bytes = _make_input().scene_bytes(broken)
    return content


def drop(installation: Installation, name: str = SCENE, content: bytes | None = None) -> Path:
    """Put a file into the watched folder as the example's script does: complete when it has its name."""
    path: Path = _make_input().drop(installation.incoming, name, content or scene_bytes())
    return path


def _make_input() -> Any:
    sys.path.insert(0, str(EXAMPLE))
    try:
        import make_input
    except ImportError as error:
        raise DemoError(f"The example's input can't be made: {error}.", "pip install matplotlib") from None
    finally:
        sys.path.remove(str(EXAMPLE))
    return make_input


@dataclass(frozen=True)
class Change:
    """Something that is in another state than when last looked at."""

    kind: str
    name: str
    state: str
    detail: str = ""


@dataclass
class Follower:
    """Tells what changed since the last look: ingests, jobs, recipes."""

    client: Client
    _states: dict[tuple[str, int], str] = field(default_factory=dict)

    def changes(self) -> Iterator[Change]:
        """Yield what changed."""
        for ingest in self.client.everything("ingests/"):
            if self._is_new("ingest", ingest):
                yield Change("ingest", ingest["file_name"], ingest["status"])
        for job in self.client.everything("jobs/", order="id"):
            if not job["job_type"]["is_system"] and self._is_new("job", job):
                yield Change("job", job["job_type"]["name"], job["status"], _detail(job))

    def _is_new(self, kind: str, row: dict[str, Any]) -> bool:
        key = (kind, row["id"])
        before, self._states[key] = self._states.get(key), row["status"]
        return before != row["status"]


def _detail(job: dict[str, Any]) -> str:
    if job["status"] == "FAILED" and job["error"]:
        return str(job["error"]["title"])
    return ""


def follow(
    installation: Installation,
    on_change: Callable[[Change, float], None],
    *,
    patience: float = 600,
) -> None:
    """Wait until every job of the example is completed, telling each change with the seconds so far.

    :raises DemoError: if something fails or is canceled, or when patience ends.
    """
    started = time.monotonic()
    follower = Follower(installation.client)
    waiting = set(expected_outputs())
    while waiting:
        elapsed = time.monotonic() - started
        try:
            changes = list(follower.changes())
        except requests.RequestException as error:
            if elapsed > patience:
                raise DemoError(f"The API does not answer: {error}", f"See {installation.logs}.") from None
            changes = []
        for change in changes:
            on_change(change, elapsed)
            if change.state in STUCK:
                raise DemoError(
                    f"{change.kind} {change.name} is {change.state}. {change.detail}".strip(),
                    f"Its log is in the Airflow UI, {installation.url}/ ; the processes' logs are in "
                    f"{installation.logs}.",
                )
            if change.kind == "job" and change.state == "COMPLETED":
                waiting.discard(change.name)
        if waiting and elapsed > patience:
            raise DemoError(
                f"After {patience:.0f} s these jobs are not completed: {', '.join(sorted(waiting))}.",
                f"The processes' logs are in {installation.logs}.",
            )
        if waiting:
            time.sleep(0.25)


@dataclass(frozen=True)
class Product:
    """A product as the API shows it, and its file."""

    row: dict[str, Any]
    path: Path | None

    def cells(self) -> tuple[str, ...]:
        """Return the beginning of its row in the table of products."""
        job_type = self.row["job_type"]
        return (
            self.row["file_name"],
            self.row["media_type"],
            f"{self.row['file_size']:,}",
            f"{job_type['name']} {job_type['version']}",
        )

    def place(self, root: Path) -> str:
        """Return the rest of its row: workspace, path in it, and URL."""
        path = self.path.relative_to(root) if self.path else "(missing)"
        return f"{self.row['workspace']['name']}: {path}\n{self.row['url'] or '(no URL)'}"


def products(installation: Installation) -> list[Product]:
    """Return the published products with their files."""
    rows = installation.client.everything("products/", order="id")
    return [Product(row, product_path(installation, row)) for row in rows]


def product_path(installation: Installation, row: dict[str, Any]) -> Path | None:
    """Return where the file of a product lies: below its execution's folder of the workspace."""
    root = installation.data / str(row["workspace"]["name"])
    return next(root.glob(f"**/job_exe_{row['job_exe']['id']}/**/{row['file_name']}"), None)


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> str:
    """Lay out rows in columns."""
    every = [header, tuple("-" * len(title) for title in header), *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in every
    )
