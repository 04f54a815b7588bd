# SPDX-License-Identifier: Apache-2.0
"""The form in which Airflow's UI shows a connection of the type ``rescale``; knows nothing of Airflow."""

from __future__ import annotations

from typing import Any

# The port stays: the Test button of Airflow 3.3 refuses connections without one.
HIDDEN = ["login", "schema"]
LABELS = {"host": "Address or region", "password": "API key"}
PLACEHOLDERS = {
    "host": "https://platform.rescale.com, or us, eu, kr, jp, itar",
    "password": "of Rescale's user profile, section API",
    "port": "443",
    "extra": '{"rates": {"jobs-usage": 9000}, "proxies": {"https": "http://proxy:3128"}}',
}


def _field(label: str, description: str, kind: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


# Each is a key of the connection's extra field; rates and proxies are objects and have no field of their own.
FIELDS: dict[str, dict[str, Any]] = {
    "profile": _field(
        "Profile", "In place of an API key: a section of ~/.config/rescale/apiconfig on the worker.", "string"
    ),
    "apiconfig_path": _field(
        "Path of apiconfig", "Another file on the worker than ~/.config/rescale/apiconfig.", "string"
    ),
    "allow_environment": _field(
        "Key of the environment",
        "In place of an API key: RESCALE_API_KEY on the worker, or else the profile 'default'.",
        "boolean",
    ),
    "verify": _field(
        "Certificates",
        "A path of certificates to trust; 'false' trusts every server. Empty for those of the system.",
        "string",
    ),
    "timeout": _field("Timeout", "Seconds without a byte of an answer.", "number", minimum=1),
    "max_concurrency": _field("Connections", "Connections to Rescale at once.", "integer", minimum=1),
    "ssh_key_file": _field(
        "SSH key file", "Path on the worker of the private key for clusters' machines.", "string"
    ),
    "ssh_private_key": _field("SSH key", "Or the private key itself.", "string", format="password"),
    "ssh_passphrase": _field(
        "SSH passphrase", "Of the private key, if it has one.", "string", format="password"
    ),
}


def connection_type() -> dict[str, Any]:
    """Return what the provider tells Airflow about the connection type."""
    return {
        "connection-type": "rescale",
        "hook-class-name": "scale_airflow.hooks.rescale.RescaleHook",
        "hook-name": "Rescale",
        "ui-field-behaviour": {
            "hidden-fields": HIDDEN,
            "relabeling": LABELS,
            "placeholders": PLACEHOLDERS,
        },
        "conn-fields": FIELDS,
    }
