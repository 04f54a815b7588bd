# SPDX-License-Identifier: Apache-2.0
"""What an Airflow connection of the type ``rescale`` says, checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from scale_airflow.errors import InstallationError
from scale_airflow.rescale.calls import Scope
from scale_airflow.rescale.credentials import (
    DEFAULT_BASE_URL,
    KEY_VARIABLE,
    REGIONS,
    URL_VARIABLE,
    Credentials,
    load_credentials,
    normalized_url,
)
from scale_airflow.rescale.http_settings import MAX_CONCURRENCY, USER_AGENT
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.rates import limits_of, shared_buckets

if TYPE_CHECKING:
    from airflow.sdk import Connection

EXTRAS = (
    "profile",
    "apiconfig_path",
    "allow_environment",
    "verify",
    "proxies",
    "timeout",
    "max_concurrency",
    "rates",
    "ssh_key_file",
    "ssh_private_key",
    "ssh_passphrase",
)


@dataclass(frozen=True)
class RescaleSettings:
    """A server, a key, and how to talk to it.

    :param limits: requests an hour by scope, where they differ from the documented ones.
    """

    credentials: Credentials
    policy: RequestPolicy = field(default_factory=RequestPolicy)
    verify: bool | str = True
    proxies: str | Mapping[str, str] | None = field(default=None, repr=False)
    max_concurrency: int = MAX_CONCURRENCY
    limits: Mapping[Scope, float | None] | None = None

    def client_arguments(self, purpose: str = "") -> dict[str, Any]:
        """Return what a client is made with, besides the credentials."""
        return {
            "policy": self.policy,
            "rates": shared_buckets(self.credentials, self.limits),
            "verify": self.verify,
            "proxies": self.proxies,
            "max_concurrency": self.max_concurrency,
            "user_agent": f"{USER_AGENT} {_airflow()} {purpose}".strip(),
        }

    def transfer_arguments(self, purpose: str = "") -> dict[str, Any]:
        """Return what an uploader or downloader is made with, besides the credentials."""
        arguments = self.client_arguments(purpose)
        arguments["connections"] = arguments.pop("max_concurrency")
        return arguments


def read_settings(connection: Connection) -> RescaleSettings:
    """Read a connection.

    :raises InstallationError: naming everything that is wrong with its extra field, or what it lacks.
    """
    extra, faults = _extra(connection)
    unknown = sorted(set(extra) - set(EXTRAS))
    if unknown:
        faults.append(f"there is no {', no '.join(unknown)}, but {', '.join(EXTRAS)}")
    _check_types(extra, faults)
    limits = None
    if extra.get("rates") is not None:
        try:
            limits = limits_of(extra["rates"])
        except ValueError as error:
            faults.append(str(error).rstrip("."))
    if faults:
        raise InstallationError(
            f"The extra field of the connection {connection.conn_id!r} is wrong: {'; '.join(faults)}.",
            "Correct it: Admin → Connections in Airflow's pages, or where the connection is kept.",
        )
    timeout = extra.get("timeout")
    policy = RequestPolicy()
    return RescaleSettings(
        _credentials(connection, extra),
        policy if timeout is None else replace(policy, read_timeout=float(timeout)),
        extra.get("verify", True),
        extra.get("proxies"),
        extra.get("max_concurrency", MAX_CONCURRENCY),
        limits,
    )


def _airflow() -> str:
    # A worker may have the task SDK alone.
    for package in ("apache-airflow-core", "apache-airflow-task-sdk"):
        try:
            return f"{package}/{version(package)}"
        except PackageNotFoundError:
            continue
    return "apache-airflow"


def _extra(connection: Connection) -> tuple[dict[str, Any], list[str]]:
    if not (connection.extra or "").strip():
        return {}, []
    try:
        document = json.loads(connection.extra or "")
    except ValueError:
        return {}, ["it is no JSON"]
    if not isinstance(document, dict):
        return {}, ["it is no JSON object"]
    # The form leaves an empty text where nothing was written; it has one field for a path and for false.
    told = {key: value for key, value in document.items() if value not in (None, "")}
    # In a connection that is written as an address every value is a text.
    for name in ("verify", "allow_environment"):
        if str(told.get(name)).lower() in ("true", "false"):
            told[name] = str(told[name]).lower() == "true"
    for name, kind in (("timeout", float), ("max_concurrency", int)):
        if isinstance(told.get(name), str):
            with suppress(ValueError):
                told[name] = kind(told[name])
    return told, []


def _check_types(extra: Mapping[str, Any], faults: list[str]) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "profile": (str,),
        "ssh_key_file": (str,),
        "ssh_private_key": (str,),
        "ssh_passphrase": (str,),
        "apiconfig_path": (str,),
        "allow_environment": (bool,),
        "verify": (bool, str),
        "proxies": (str, dict),
        "timeout": (int, float),
        "max_concurrency": (int,),
    }
    names = {str: "a text", bool: "true or false", dict: "an object", int: "a number", float: "a number"}
    for name, allowed in kinds.items():
        value = extra.get(name)
        right = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
        if value is not None and not right:
            faults.append(f"{name} must be {' or '.join(dict.fromkeys(names[kind] for kind in allowed))}")
        elif isinstance(value, (int, float)) and name in ("timeout", "max_concurrency") and not value > 0:
            faults.append(f"{name} must be above 0")


def _credentials(connection: Connection, extra: Mapping[str, Any]) -> Credentials:
    host = _address(connection)
    if connection.password:
        return Credentials.of(host or DEFAULT_BASE_URL, connection.password)
    if extra.get("profile") or extra.get("apiconfig_path"):
        found = load_credentials(extra.get("profile") or "default", extra.get("apiconfig_path"))
    elif extra.get("allow_environment"):
        if host and os.environ.get(KEY_VARIABLE, "").strip() and not os.environ.get(URL_VARIABLE, "").strip():
            return Credentials.of(host, os.environ[KEY_VARIABLE])
        found = load_credentials()
    else:
        raise InstallationError(
            f"The connection {connection.conn_id!r} has no API key.",
            "Set its password to a key of Rescale's user profile (section API); or, in its extra field, "
            '"profile" to use ~/.config/rescale/apiconfig of the worker, or "allow_environment": true to use '
            f"{KEY_VARIABLE}.",
        )
    if host and normalized_url(host) != found.base_url:
        # A key is for one region; that of the environment or a file must not go to another server.
        raise InstallationError(
            f"The connection {connection.conn_id!r} names {normalized_url(host)}, but its key is for "
            f"{found.base_url}.",
            f"Take the host out of the connection, or set {URL_VARIABLE} or the profile's apibaseurl to it.",
        )
    return found


def _address(connection: Connection) -> str:
    host = (connection.host or "").strip()
    if host.lower() in REGIONS:
        return host
    if host and "://" not in host and connection.port:
        return f"{connection.schema or 'https'}://{host}:{connection.port}"
    if host and "://" not in host and connection.schema:
        return f"{connection.schema}://{host}"
    return host
