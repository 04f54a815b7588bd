# SPDX-License-Identifier: Apache-2.0
"""One job's clients of the engine."""

from __future__ import annotations

import pytest
from docker import APIClient
from docker_engine import Engine

from scale_airflow.execution.backends.docker import connector

pytestmark = pytest.mark.docker


def test_only_the_first_client_asks_for_the_version(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = APIClient._retrieve_server_version
    monkeypatch.setattr(APIClient, "_retrieve_server_version", lambda self: asked.append(1) or ask(self))
    connect = connector(engine.url)
    clients = [connect() for _ in range(3)]
    try:
        assert all(client.ping() for client in clients)
        assert len({client.api_version for client in clients}) == 1
        assert len(asked) == 1
    finally:
        for client in clients:
            client.close()
