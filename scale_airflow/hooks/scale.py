# SPDX-License-Identifier: Apache-2.0
"""ScaleHook: the connection to a Scale API server, for workers and for authors of DAGs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from scale_airflow.config import CONNECTION_ID
from scale_airflow.errors import ScaleApiError
from scale_airflow.hooks.async_client import AsyncScaleClient
from scale_airflow.hooks.client import RuntimeClient

if TYPE_CHECKING:
    from airflow.sdk import Connection

FINAL_STATES = ("COMPLETED", "FAILED", "CANCELED")
_PAGE = 1000
_LAST_FILE = (1 << 53) - 1


class ScaleHook(BaseHook):
    """Talks to the Scale API of an Airflow API server.

    The connection's host is the server's base URL with its path prefix (``https://airflow.example.org/air``);
    its password is the workers' secret (``airflow scale init`` makes such a connection) or, for queueing jobs
    on a Scale elsewhere, a token from ``airflow scale token`` (or ``{"token": …}`` in the extra field).
    ``{"verify": "/path/ca.pem"}`` in the extra field names the certificates to trust, ``false`` trusts all.

    :param scale_conn_id: the connection.
    """

    conn_name_attr = "scale_conn_id"
    default_conn_name = CONNECTION_ID
    conn_type = "scale"
    hook_name = "Scale"

    def __init__(self, scale_conn_id: str = default_conn_name, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale_conn_id = scale_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow shows the connection's form."""
        return {
            "hidden_fields": ["login", "schema", "port"],
            "relabeling": {"host": "Base URL of the API server", "password": "Secret or API token"},
            "placeholders": {
                "host": "https://airflow.example.org",
                "password": "of airflow scale init (workers) or airflow scale token (users)",
                "extra": '{"verify": "/etc/ssl/certs/our-ca.pem"}',
            },
        }

    def get_conn(self) -> RuntimeClient:
        """Return the client (one a hook)."""
        return self.client

    @cached_property
    def client(self) -> RuntimeClient:
        """The client of the connection.

        :raises ScaleApiError: if the connection has no usable address.
        """
        base_url, token, verify = _address(self.get_connection(self.scale_conn_id))
        return RuntimeClient(base_url, token, verify=verify)

    async def async_client(self) -> AsyncScaleClient:
        """Return a new asynchronous client of the connection, for triggers."""
        base_url, token, verify = _address(await self.aget_connection(self.scale_conn_id))
        return AsyncScaleClient(base_url, token, verify=verify)

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether the server answers and takes the secret or token, for the form's Test button."""
        try:
            try:
                self.client.get("/runtime/dag-files/", after=_LAST_FILE)
                return True, "The API server answers and accepts the secret of workers."
            except ScaleApiError as error:
                if error.status not in (401, 403):
                    raise
            self.client.get("/status/")
            return True, "The API server answers and accepts the API token of a user."
        except ScaleApiError as error:
            if error.status in (401, 403):
                return (
                    False,
                    "The API server answers, but accepts the password neither as secret nor as token.",
                )
            return False, str(error)
        except Exception as error:
            return False, f"{type(error).__name__}: the connection {self.scale_conn_id!r} can't be used."

    def queue_job(
        self, job_type: int | tuple[str, str], data: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Queue a job and return its details.

        :param job_type: the job type's id, or its name and version.
        :param data: job data (specification: Job Data).
        :raises ScaleApiError: if the server refuses it; ``faults`` says why.
        """
        body = {"job_type_id": self._type_id("job-types", job_type), "job_data": data or {}}
        return _object(self.client.request("POST", "/queue/new-job/", body=body))

    def queue_recipe(
        self, recipe_type: int | tuple[str, str], data: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Queue a recipe and return its details.

        :param recipe_type: the recipe type's id, or its name and version.
        :param data: recipe data (specification: Recipe Data).
        :raises ScaleApiError: if the server refuses it; ``faults`` says why.
        """
        body = {"recipe_type_id": self._type_id("recipe-types", recipe_type), "recipe_data": data or {}}
        return _object(self.client.request("POST", "/queue/new-recipe/", body=body))

    def get_job(self, job_id: int) -> dict[str, Any]:
        """Return a job's details."""
        return _object(self.client.get(f"/jobs/{int(job_id)}/"))

    def get_recipe(self, recipe_id: int) -> dict[str, Any]:
        """Return a recipe's details."""
        return _object(self.client.get(f"/recipes/{int(recipe_id)}/"))

    def wait_for_job(
        self, job_id: int, *, timeout: float | None = None, poll_interval: float = 5.0
    ) -> dict[str, Any]:
        """Return a job's details once it is COMPLETED, FAILED or CANCELED.

        :param timeout: seconds to wait at most, None for ever.
        :raises TimeoutError: if it is none of these by then.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        while (job := self.get_job(job_id)).get("status") not in FINAL_STATES:
            left = poll_interval if give_up is None else min(poll_interval, give_up - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"Job {job_id} is still {job.get('status')} after {timeout} seconds.")
            time.sleep(left)
        return job

    def cancel_job(self, job_id: int) -> dict[str, Any]:
        """Cancel a job and return its details.

        :raises ScaleApiError: (status 409) if it is COMPLETED or CANCELED already.
        """
        return _object(self.client.request("PATCH", f"/jobs/{int(job_id)}/", body={"status": "CANCELED"}))

    def list_products(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Give the published products, page by page; filters as in ``GET /products/``."""
        return self._all("/products/", filters)

    def _all(self, path: str, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            answer = _object(self.client.get(path, **{**filters, "page": page, "page_size": _PAGE}))
            yield from answer.get("results", ())
            if not answer.get("next"):
                return
            page += 1

    def _type_id(self, family: str, wanted: int | tuple[str, str]) -> int:
        if isinstance(wanted, int):
            return wanted
        name, version = wanted
        # Only job types can be filtered by name; others ignore it.
        for found in self._all(f"/{family}/", {"name": name}):
            if (found.get("name"), found.get("version")) == (name, version):
                return int(found["id"])
        kind = family.replace("-", " ").removesuffix("s")
        raise ScaleApiError(f"There is no {kind} {name!r} in version {version!r}.", status=404)


def _address(connection: Connection) -> tuple[str, str | None, bool | str]:
    """Return base URL, token and certificates of a connection."""
    host = (connection.host or "").strip()
    if not host:
        raise ScaleApiError(
            f"The connection {connection.conn_id!r} has no host; set it to the base URL of the API server."
        )
    if "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"{connection.schema or 'http'}://{host}{port}"
    extra = connection.extra_dejson
    return host, connection.password or extra.get("token"), extra.get("verify", True)


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ScaleApiError("The API server's answer is not a JSON object. Is this a Scale API server?")
    return answer
