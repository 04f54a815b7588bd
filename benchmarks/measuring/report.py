# SPDX-License-Identifier: Apache-2.0
"""The form in which every benchmark reports: a table for people, and one last line of JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Ratio:
    """A comparison within one run, with its goal; ``better`` says in which direction of ``value``."""

    value: float
    goal: float
    better: Literal["lower", "higher"]

    @property
    def is_met(self) -> bool:
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    @property
    def wanted(self) -> str:
        return f"{'at most' if self.better == 'lower' else 'at least'} {self.goal:g}"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, first column left, all others right."""
    widths = [max(len(row[index]) for row in [heading, *rows]) for index in range(len(heading))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(heading), f"|{rule}|", *(line(row) for row in rows)])


def ratio_table(ratios: Mapping[str, Ratio]) -> str:
    """Return the ratios with their goals and whether these are met."""
    rows = [
        (what, f"{ratio.value:.2f}", ratio.wanted, "yes" if ratio.is_met else "NO")
        for what, ratio in ratios.items()
    ]
    return table(("ratio", "value", "goal", "met"), rows)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that ``percent`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def finish(name: str, ratios: Mapping[str, Ratio], **more: Any) -> None:
    """Print the ratios and, as the last line of output, everything as JSON.

    :param more: what else the JSON should hold, such as the medians that the ratios come from.
    """
    print(f"\n{ratio_table(ratios)}\n")
    report = {"benchmark": name, "ratios": {what: asdict(ratio) for what, ratio in ratios.items()}, **more}
    print(json.dumps(report), flush=True)
