# SPDX-License-Identifier: Apache-2.0
"""With which key ``airflow rescale`` speaks to which server: a connection, the environment, or a profile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scale_airflow.errors import InstallationError, InvalidRequest

if TYPE_CHECKING:
    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.credentials import Credentials
    from scale_airflow.rescale.transfers.download import Downloader
    from scale_airflow.rescale.transfers.upload import Uploader

DEFAULT_CONNECTION = "rescale_default"
_TRANSFER_SETTINGS = ("policy", "rates", "verify", "proxies", "user_agent")


@dataclass(frozen=True)
class Access:
    """What the actions work with."""

    client: RescaleClient
    credentials: Credentials
    transfer_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def uploader(self) -> Uploader:
        """Return what sends files; a context manager."""
        from scale_airflow.rescale.transfers.upload import Uploader

        return Uploader(self.credentials, **self.transfer_settings)

    def downloader(self, connections: int | None = None) -> Downloader:
        """Return what fetches files, over at most so many connections; a context manager."""
        from scale_airflow.rescale.transfers.download import Downloader

        settings = dict(self.transfer_settings)
        if connections is not None:
            settings["connections"] = connections
        return Downloader(self.credentials, **settings)

    def job_address(self, job_id: str) -> str:
        """Return the address of a job's page."""
        return f"{self.credentials.base_url}/jobs/{job_id}/"


@contextmanager
def access(args: Any) -> Iterator[Access]:
    """Give a client as the options say, and close it.

    :raises InstallationError: if there is no key anywhere; says where one can stand.
    """
    from scale_airflow.rescale.client import RescaleClient

    if args.conn_id is not None and args.profile is not None:
        raise InvalidRequest("Give either --conn-id or --profile: each says which key to use.")
    hook = None if args.profile is not None else _hook(args.conn_id)
    if hook is not None:
        with hook.client as client:
            known = hook.settings.client_arguments()
            yield Access(client, hook.credentials(), {name: known[name] for name in _TRANSFER_SETTINGS})
        return
    credentials = _credentials(args.profile)
    with RescaleClient(credentials) as client:
        yield Access(client, credentials)


def _hook(wanted: str | None) -> Any:
    """Return the hook of the wanted connection, or of the default one if there is one."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from scale_airflow.hooks.rescale import RescaleHook

    # As in Airflow's own commands about connections: those in the metadata database count too.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    hook = RescaleHook(wanted or DEFAULT_CONNECTION)
    try:
        hook.credentials()
    except AirflowNotFoundException:
        if wanted is None:
            return None
        raise InvalidRequest(
            f"There is no connection {wanted!r}. Make it: airflow connections add {wanted} --conn-type "
            "rescale --conn-host https://platform.rescale.com --conn-password YOUR_KEY"
        ) from None
    except Exception as error:
        if wanted is None and _is_no_database(error):
            return None
        raise
    return hook


def _is_no_database(error: Exception) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, SQLAlchemyError)


def _credentials(profile: str | None) -> Credentials:
    from scale_airflow.rescale.credentials import Credentials, load_credentials

    if profile is not None:
        return Credentials.from_profile(profile=profile)
    try:
        return load_credentials()
    except InstallationError as error:
        raise InstallationError(
            f"There is no connection {DEFAULT_CONNECTION}, and: {error.problem}",
            f"{error.remedy} Or: airflow connections add {DEFAULT_CONNECTION} --conn-type rescale "
            "--conn-host https://platform.rescale.com --conn-password YOUR_KEY",
        ) from None
