# SPDX-License-Identifier: Apache-2.0
"""Which server an address belongs to; for addresses that come from outside, and may be anything."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """An address, taken apart."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be equal for two addresses to be of the same server."""
        return self.scheme, self.host, self.port


def address_of(url: str, base: str = "") -> Address | None:
    """Take an address apart; None if it is none of HTTP.

    :param base: what a relative address is relative to.
    """
    try:
        split = urlsplit(urljoin(base, url))
        port = split.port
    except ValueError:
        return None
    if split.scheme not in _PORTS or not split.hostname:
        return None
    return Address(split.scheme, split.hostname, port or _PORTS[split.scheme], split.path or "/", split.query)
