# SPDX-License-Identifier: Apache-2.0
"""The REST API as a patient user asks it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg2
import requests

from demo.errors import DemoError
from tests.crash.installation import CrashInstallation

PATIENCE = 240.0


class Api:
    """The REST API as a patient user: who gets no answer asks again."""

    def __init__(self, system: CrashInstallation):
        self._system = system
        self._client = system.installation.client
        self._ids: dict[tuple[str, str], int] = {}
        self.lost = Counter[str]()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return what a path shows."""
        return self._ask("GET", f"/scale/api/{path}", params=parameters)

    def post(self, path: str, document: object, *, accepted: tuple[int, ...] = (), once: bool = False) -> Any:
        """Send a document; ``accepted`` are error codes that may say that an earlier try has come through."""
        return self._ask("POST", f"/scale/api/{path}", accepted, once, json=document)

    def patch(self, path: str, document: object, *, accepted: tuple[int, ...] = ()) -> Any:
        """Change something."""
        return self._ask("PATCH", f"/scale/api/{path}", accepted, json=document)

    def airflow(self, method: str, path: str, document: object) -> Any:
        """Ask Airflow's own API; that a run is over or gone by now is fine."""
        return self._ask(method, f"/api/v2/{path}", (404, 409), json=document)

    def command(self, *words: str) -> None:
        """Run ``airflow scale``; once more if it is killed."""
        for attempt in range(8):
            try:
                self._system.installation.airflow(["scale", *words])
                return
            except DemoError:
                if attempt == 7:
                    raise
                time.sleep(0.5)

    def id_of(self, family: str, name: str) -> int:
        """Return the id of a row of a list by its name."""
        if (family, name) not in self._ids:
            self._ids.update({(family, row["name"]): row["id"] for row in self._all(family)})
        return self._ids[family, name]

    def _all(self, family: str) -> list[dict[str, Any]]:
        return list(self.get(f"{family}/", page_size=1000)["results"])

    def until(self, ask: Callable[[], Any], is_done: Callable[[], bool]) -> None:
        """Ask for something that must not be asked for twice: look first whether it is there.

        :raises requests.RequestException: if it is never answered.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                ask()
            except requests.RequestException:
                if time.monotonic() > deadline:
                    raise
            with suppress(psycopg2.Error):
                # A commit that was under way when the server died has come through, or never will.
                time.sleep(0.5)
                if is_done():
                    return
            if time.monotonic() > deadline:
                raise LookupError("What was asked for is not there.")

    def _ask(
        self, method: str, path: str, accepted: tuple[int, ...] = (), once: bool = False, **arguments: Any
    ) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._client.request(method, path, **arguments)
                if answer.ok or answer.status_code in accepted:
                    return answer.json() if answer.content else None
                told = f"{method} {path}: {answer.status_code} {answer.text[:500]}"
                if answer.status_code < 500 and answer.status_code not in (401, 403):
                    raise LookupError(told)
                raise requests.HTTPError(told, response=answer)
            except requests.RequestException as error:
                self.lost[type(error).__name__] += 1
                if once or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
