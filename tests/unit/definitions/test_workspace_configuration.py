# SPDX-License-Identifier: Apache-2.0
"""Workspace configurations: shared and local directories."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.workspace_configuration import HostDirectory, NfsMount, WorkspaceConfiguration
from scale_airflow.errors import InvalidDocument


def told(broker: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        WorkspaceConfiguration.parse({"broker": broker})
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_the_specifications_example() -> None:
    configuration = WorkspaceConfiguration.parse(load("workspace-configuration.nfs"))
    assert configuration.type == "nfs"
    assert configuration.broker == NfsMount("host", PurePosixPath("/my/path"))
    assert configuration.broker.mount == "host:/my/path"


def test_where_a_share_is_mounted() -> None:
    broker = {"type": "nfs", "mount": "10.0.0.1:/", "mount_on": "/mnt/a b"}
    configuration = WorkspaceConfiguration.parse({"broker": broker})
    assert configuration.broker == NfsMount("10.0.0.1", PurePosixPath("/"), PurePosixPath("/mnt/a b"))


def test_a_local_directory() -> None:
    configuration = WorkspaceConfiguration.parse({"broker": {"type": "host", "path": "/data"}})
    assert (configuration.type, configuration.broker) == ("host", HostDirectory(PurePosixPath("/data")))


@pytest.mark.parametrize(
    ("broker", "places"),
    [
        ({}, ["/broker"]),
        ({"type": "ftp"}, ["/broker/type"]),
        ({"type": "nfs"}, ["/broker"]),
        ({"type": "nfs", "mount": "/my/path"}, ["/broker/mount"]),
        ({"type": "nfs", "mount": "host:path"}, ["/broker/mount"]),
        ({"type": "nfs", "mount": ":/path"}, ["/broker/mount"]),
        ({"type": "nfs", "mount": "ho st:/path"}, ["/broker/mount"]),
        ({"type": "nfs", "mount": "host:/a/../b"}, ["/broker/mount"]),
        ({"type": "nfs", "mount": "host:/a", "mount_on": "mnt"}, ["/broker/mount_on"]),
        ({"type": "nfs", "mount": "host:/a", "mount_on": "/mnt/.."}, ["/broker/mount_on"]),
        ({"type": "nfs", "mount": "host:/a", "path": "/a"}, ["/broker/path"]),
        ({"type": "host"}, ["/broker"]),
        ({"type": "host", "path": "data"}, ["/broker/path"]),
        ({"type": "host", "path": "/data", "mount": "host:/a"}, ["/broker/mount"]),
        ([], ["/broker"]),
    ],
)
def test_wrong_brokers(broker: object, places: list[str]) -> None:
    assert [place for place, _ in told(broker)] == places
