# SPDX-License-Identifier: Apache-2.0
"""The workspace configuration: where files are kept (specification: Workspaces)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from scale_airflow.definitions.documents import structure, text_of
from scale_airflow.definitions.faults import Faults, quote

KIND = "workspace-configuration"


@dataclass(frozen=True, slots=True)
class NfsMount:
    """A shared directory, written ``host:/path``; ``mount_on`` is where machines have it, if that is said."""

    host: str
    path: PurePosixPath
    mount_on: PurePosixPath | None = None

    @classmethod
    def of(cls, mount: str, mount_on: str | None = None) -> NfsMount:
        """Build the mount from its valid texts."""
        host, _, path = mount.partition(":")
        return cls(host, PurePosixPath(path), PurePosixPath(mount_on) if mount_on else None)

    @property
    def mount(self) -> str:
        """The mount as documents write it."""
        return f"{self.host}:{self.path}"


@dataclass(frozen=True, slots=True)
class HostDirectory:
    """A directory with the same path on every machine."""

    path: PurePosixPath


@dataclass(frozen=True, slots=True)
class WorkspaceConfiguration:
    """How a workspace's files are stored."""

    broker: NfsMount | HostDirectory
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, document: object) -> WorkspaceConfiguration:
        """Read a workspace configuration.

        :raises InvalidDocument: every fault found.
        """
        faults = structure(KIND, document)
        broker = document.get("broker") if isinstance(document, dict) else None
        mount = text_of(broker, "mount")
        if mount is not None:
            check_no_parent(mount.partition(":")[2], "/broker/mount", faults)
        for name in ("mount_on", "path"):
            check_no_parent(text_of(broker, name), f"/broker/{name}", faults)
        faults.refuse(KIND, document)
        assert isinstance(document, dict)
        broker = document["broker"]
        if broker["type"] == "host":
            return cls(HostDirectory(PurePosixPath(broker["path"])), document)
        return cls(NfsMount.of(broker["mount"], broker.get("mount_on")), document)

    @property
    def type(self) -> str:
        """The broker's type: ``nfs`` or ``host``."""
        return "host" if isinstance(self.broker, HostDirectory) else "nfs"


def check_no_parent(path: str | None, place: str, faults: Faults) -> None:
    """Add a fault if a path contains ``..``."""
    if path is not None and ".." in PurePosixPath(path).parts:
        message = f'The path {quote(path)} contains ".."; write where it really leads.'
        faults.add(place, "path.parent", message)
