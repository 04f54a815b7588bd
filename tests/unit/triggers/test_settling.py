# SPDX-License-Identifier: Apache-2.0
"""The pause before a trigger's event."""

from __future__ import annotations

import time

import pytest

from scale_airflow.triggers import settling


async def test_only_what_is_left_of_the_pause_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "LONG_SETTLING_PAUSE", 0.2)
    begun = time.monotonic()
    await settling.settled(begun)
    assert time.monotonic() - begun >= 0.2
    since = time.monotonic()
    await settling.settled(begun)
    assert time.monotonic() - since < 0.1
