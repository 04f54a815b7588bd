# SPDX-License-Identifier: Apache-2.0
"""A small client of Airflow's and Scale's REST APIs, as a user's script would have it."""

from __future__ import annotations

from typing import Any

import requests

# Patient: on a busy machine even a small request may wait for its turn.
TIMEOUT = 120
HEALTHY = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class Client:
    """Logs in with a password and keeps the token."""

    def __init__(self, url: str, username: str, password: str):
        self.url = url
        self._login = {"username": username, "password": password}
        self.session = requests.Session()
        # A proxy of the environment has no business on this host.
        self.session.trust_env = False

    def log_in(self) -> None:
        """Fetch a token from Airflow's auth manager.

        :raises requests.RequestException: if there is no answer, or no token in it.
        """
        answer = self.session.post(f"{self.url}/auth/token", json=self._login, timeout=TIMEOUT)
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request to a path below the server's URL; log in first where needed."""
        if "Authorization" not in self.session.headers:
            self.log_in()
        arguments.setdefault("timeout", TIMEOUT)
        answer = self.session.request(method, f"{self.url}{path}", **arguments)
        if answer.status_code == requests.codes.unauthorized:
            self.log_in()
            answer = self.session.request(method, f"{self.url}{path}", **arguments)
        return answer

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a path below ``/scale/api/``.

        :raises requests.HTTPError: for an answer that is an error; with its text.
        """
        return self._json("GET", f"/scale/api/{path}", params=parameters)

    def post(self, path: str, document: object) -> Any:
        """Send a document to a path below ``/scale/api/``, and return the answer's JSON."""
        return self._json("POST", f"/scale/api/{path}", json=document)

    def patch(self, path: str, document: object) -> Any:
        """Change what a path below ``/scale/api/`` names, and return the answer's JSON."""
        return self._json("PATCH", f"/scale/api/{path}", json=document)

    def airflow(self, method: str, path: str, **arguments: Any) -> Any:
        """Return the JSON of a path below Airflow's ``/api/v2/``."""
        return self._json(method, f"/api/v2/{path}", **arguments)

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self.request(method, path, **arguments)
        if not answer.ok:
            told = f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
            raise requests.HTTPError(told, response=answer)
        return answer.json() if answer.content else None

    def everything(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return all rows of a list of Scale's, page after page."""
        rows: list[dict[str, Any]] = []
        page = 1
        while True:
            answer = self.get(path, page=page, page_size=1000, **parameters)
            rows += answer["results"]
            if not answer.get("next"):
                return rows
            page += 1

    def missing(self) -> str:
        """Name the first part of the system that does not answer yet; the empty text if all do."""
        try:
            health = self.session.get(f"{self.url}/api/v2/monitor/health", timeout=TIMEOUT)
            health.raise_for_status()
            states = health.json()
            for name in HEALTHY:
                if states[name]["status"] != "healthy":
                    return f"a healthy {name.replace('_', ' ')}"
            if not self.get("status/").get("resources", {}).get("total", {}).get("cpus"):
                return "a node agent"
        except requests.ConnectionError:
            return "the API server"
        except (requests.RequestException, ValueError, KeyError) as error:
            return f"a sound answer of the API server ({error})"
        return ""
