# SPDX-License-Identifier: Apache-2.0
"""Which Airflow connection holds the login for an image's registry."""

from __future__ import annotations

import re

HUB = "docker.io"
DEFAULT_CONNECTION = "docker_default"


def registry_of(image: str) -> str:
    """Return the host of an image's registry, ``docker.io`` where its name has none."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else HUB


def connection_ids(image: str) -> tuple[str, str]:
    """Return the ids of the connections to look for: one for the registry, then the default.

    The first is ``docker_`` and the registry's host with ``_`` for all but letters and digits, e.g.
    ``docker_registry_example_org_5000``.
    """
    return f"docker_{re.sub(r'[^A-Za-z0-9]', '_', registry_of(image))}", DEFAULT_CONNECTION


def serves(connection_host: str | None, connection_port: int | None, image: str) -> bool:
    """Tell whether a connection's login is for the registry of the image; none goes to another host."""
    host = re.sub(r"^[a-z]+://", "", connection_host or "").partition("/")[0]
    if connection_port and ":" not in host:
        host = f"{host}:{connection_port}"
    registry = registry_of(image)
    return host == registry or (registry == HUB and host in ("index.docker.io", "registry-1.docker.io"))
