# SPDX-License-Identifier: Apache-2.0
"""What a run has shown, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.crash.run import Outcome

_SHOWN = 50


def write(outcome: Outcome, folder: Path) -> Path:
    """Write ``crash-matrix.md`` and ``crash-matrix.json`` into a folder; return the first."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        **asdict(outcome),
        "folder": str(outcome.folder),
        "passed": sorted(outcome.passed),
        "hit": sorted(outcome.hit),
    }
    (folder / "crash-matrix.json").write_text(json.dumps(document, indent=1) + "\n")
    path = folder / "crash-matrix.md"
    path.write_text(page(outcome))
    return path


def page(outcome: Outcome) -> str:
    """Return the report as Markdown."""
    lines = [
        "# A run of the crash matrix",
        "",
        f"`make crash-test KILLS={outcome.wanted} SEED={outcome.seed}`",
        "",
        f"{outcome.jobs} jobs and {outcome.files} files were asked for; "
        f"{len(outcome.kills)} processes were killed with SIGKILL while they were done"
        f"{'' if outcome.has_docker else ' (there was no Docker engine: no containers)'}. "
        f"{_verdict(outcome)}",
        "",
        _MEANING if not outcome.wrong else "",
        "Seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in outcome.seconds.items()) + ".",
        "",
        "## What was killed",
        "",
        "| process | at a named point | at a random moment |",
        "|---|---:|---:|",
    ]
    named = Counter(kill.victim for kill in outcome.kills if kill.point is not None)
    random = Counter(kill.victim for kill in outcome.kills if kill.point is None)
    lines += [f"| {name} | {named[name]} | {random[name]} |" for name in sorted(named.keys() | random.keys())]
    lines += [f"| all | {named.total()} | {random.total()} |", ""]
    lines += _coverage(outcome)
    lines += ["## What holds", "", "| invariant | looked at | wrong |", "|---|---:|---:|"]
    lines += [f"| {each.title} | {each.looked_at} | {len(each.wrong)} |" for each in outcome.findings]
    if outcome.wrong:
        lines += ["", "## What is wrong", "", *(f"- {told}" for told in outcome.wrong[:_SHOWN])]
    if outcome.trouble:
        lines += ["", "## What went wrong besides", "", *(f"- {told}" for told in outcome.trouble[:_SHOWN])]
    return "\n".join(lines) + "\n"


_MEANING = """\
The invariants below are looked at from outside, by SQL, in the directories, at the container engine and by
REST, once everything has come to its end. They say that whatever died, and when: no job, file or event was
lost or taken twice; every product is there once, with the content that follows from its inputs; every job's
state is explained by its recorded executions; and nothing was left behind. They do not show what a machine
that loses its power does to files, nor what several worker hosts do to each other.

A kill at a named point is one of the process that reached it, between two of its steps: after the last
statement of a transaction and before its commit, after the commit and before the answer, before and after a
rename. What is killed at random is killed wherever it is.
"""


def _verdict(outcome: Outcome) -> str:
    if outcome.wrong:
        return f"{len(outcome.wrong)} things were not as they should be afterwards."
    return "Afterwards everything was as it should be."


def _coverage(outcome: Outcome) -> list[str]:
    never = [name for name in outcome.missed if name not in outcome.passed]
    told = f"{len(outcome.hit)} of {len(outcome.points)} [points](reference/crash-points.md) were hit"
    if outcome.missed:
        passed = len(outcome.missed) - len(never)
        told += f", {passed} were passed without a kill, {len(never)} were never passed in this run"
    lines = ["## Points", "", f"{told}.", ""]
    if outcome.missed:
        lines += ["| point not hit | why |", "|---|---|"]
        lines += [f"| `{name}` | {why} |" for name, why in outcome.missed.items()]
        lines.append("")
    lines += [
        "| points of | points | hit | kills there |",
        "|---|---:|---:|---:|",
    ]
    kills = Counter(kill.point for kill in outcome.kills if kill.point is not None)
    for room in sorted({name.partition(".")[0] for name in outcome.points}):
        names = [name for name in outcome.points if name.partition(".")[0] == room]
        hit = sum(name in outcome.hit for name in names)
        lines.append(f"| `{room}` | {len(names)} | {hit} | {sum(kills[name] for name in names)} |")
    return [*lines, ""]
