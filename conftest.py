# SPDX-License-Identifier: Apache-2.0
"""Leave parts of the tests out by name, and say so at the end."""

from __future__ import annotations

from collections import Counter

import pytest

PARTS = {
    "docker": "a Docker engine",
    "browser": "Chromium and its driver",
    "mounts": "the right to mount file systems (root)",
}
"""Markers of tests that need something of the machine; without it they fail, unless they are left out."""

_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--without`, which `make test WITHOUT=…` sets."""
    parser.addoption(
        "--without",
        default="",
        metavar="PARTS",
        help=f"leave out tests that need: {', '.join(f'{name} ({what})' for name, what in PARTS.items())}",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the name of a part that does not exist."""
    unknown = _without(config) - set(PARTS)
    if unknown:
        raise pytest.UsageError(f"--without={','.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    config.stash[_LEFT_OUT] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the tests of the parts that are left out away, and count them."""
    without = _without(config)
    left_out = [item for item in items if without & {mark.name for mark in item.iter_markers()}]
    if left_out:
        for part in without:
            count = sum(item.get_closest_marker(part) is not None for item in left_out)
            config.stash[_LEFT_OUT][part] = count
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Repeat what was left out where everybody looks."""
    for part, count in sorted(config.stash[_LEFT_OUT].items()):
        terminalreporter.write_line(
            f"LEFT OUT by name: {count} tests that need {PARTS[part]} (WITHOUT={part})", yellow=True
        )


def _without(config: pytest.Config) -> set[str]:
    return {part for part in config.getoption("--without").split(",") if part}
