# SPDX-License-Identifier: Apache-2.0
"""One engine for all tests with containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docker_engine import Engine, docker_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with docker_engine() as started:
        started.busybox()
        started.busybox("scale-entry:1", 'ENTRYPOINT ["/bin/sh", "-c", "echo entry: $0 $@"]')
        yield started
