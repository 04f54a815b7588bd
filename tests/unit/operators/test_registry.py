# SPDX-License-Identifier: Apache-2.0
"""A registry's login goes to that registry alone."""

from __future__ import annotations

import pytest

from scale_airflow.operators.registry import connection_ids, registry_of, serves


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("busybox", "docker.io"),
        ("library/busybox:1", "docker.io"),
        ("localhost/x", "localhost"),
        ("localhost:5000/x:1", "localhost:5000"),
        ("registry.example.org/team/x@sha256:00", "registry.example.org"),
    ],
)
def test_registry_of(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_connection_ids() -> None:
    assert connection_ids("r.example.org:5000/x") == ("docker_r_example_org_5000", "docker_default")


@pytest.mark.parametrize(
    ("host", "port", "image", "expected"),
    [
        ("r.example.org", None, "r.example.org/x", True),
        ("https://r.example.org/v2", None, "r.example.org/x", True),
        ("r.example.org", 5000, "r.example.org:5000/x", True),
        ("r.example.org", None, "r.example.org:5000/x", False),
        ("https://index.docker.io/v1/", None, "busybox", True),
        ("docker.io", None, "r.example.org/x", False),
        (None, None, "busybox", False),
    ],
)
def test_serves(host: str | None, port: int | None, image: str, expected: bool) -> None:
    assert serves(host, port, image) is expected
