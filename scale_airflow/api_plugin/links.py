# SPDX-License-Identifier: Apache-2.0
"""Absolute addresses of this API, as the caller sees it: also behind a proxy and its path prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

_HOST = re.compile(r"[A-Za-z0-9.\-_]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Links:
    """Builds addresses; ``root`` is where the plugin is mounted, e.g. ``https://host/prefix/scale``."""

    root: str

    def to(self, path: str) -> str:
        """Return the address of an endpoint, e.g. ``to("/jobs/3/")``."""
        return f"{self.root}/api{path}"

    def content(self, file_id: int) -> str:
        """Return where a file is downloaded."""
        return self.to(f"/files/{file_id}/content/")


def links_of(request: Request) -> Links:
    """Return the builder of addresses for this request's caller.

    A proxy tells the caller's view in ``X-Forwarded-Host`` and ``X-Forwarded-Proto``; the path prefix is
    the one of ``[api] base_url``, which Airflow puts before every route. The headers decide nothing but
    what the caller reads in its own answer.
    """
    forwarded = request.headers.get("x-forwarded-host", "").split(",")[0].strip()
    host = forwarded if _HOST.fullmatch(forwarded) else request.url.netloc
    if not _HOST.fullmatch(host):
        host = "localhost"
    proto = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    scheme = proto if proto in ("http", "https") else request.url.scheme
    return Links(f"{scheme}://{host}{request.scope.get('root_path', '')}")


async def _links(request: Request) -> Links:
    return links_of(request)


LinksDep = Annotated[Links, Depends(_links)]
