# SPDX-License-Identifier: Apache-2.0
"""A server whose answers a test writes down, and both clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit.rescale.faces import Face, face
from unit.rescale.scripted import KEY, Server, scripted


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted() as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Face]:
    made = face(request.param, server.url, KEY)
    yield made
    made.close()
