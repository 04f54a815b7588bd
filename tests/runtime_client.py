# SPDX-License-Identifier: Apache-2.0
"""A worker's client for tests, without a socket."""

from __future__ import annotations

from typing import Any

import httpx

from scale_airflow.hooks.client import RuntimeClient, error_of

API = "/scale/api"


class InProcess(RuntimeClient):
    """A worker's client that speaks to the application without a socket."""

    def __init__(self, client: httpx.Client, secret: str):
        super().__init__("http://scale.example", secret)
        self._over = client

    def request(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self._over.request(method, f"{API}{path}", json=options.get("body"), headers=headers)
        if not answer.is_success:
            raise error_of(answer.status_code, answer.json(), method, path)
        return answer.json()
