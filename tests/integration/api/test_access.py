# SPDX-License-Identifier: Apache-2.0
"""Who may do what, on Airflow's own API server with FAB's users."""

from __future__ import annotations

import httpx


def test_version(client: httpx.Client, viewer: dict[str, str]) -> None:
    answer = client.get("/scale/api/version/", headers=viewer)
    assert answer.status_code == 200, answer.text
    assert client.get("/scale/api/version").status_code == 401
