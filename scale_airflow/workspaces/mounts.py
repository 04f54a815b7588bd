# SPDX-License-Identifier: Apache-2.0
"""From the mounts of documents (``host:/path``) to directories of this host that may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scale_airflow.definitions.workspace_configuration import HostDirectory, NfsMount, WorkspaceConfiguration
from scale_airflow.errors import WorkspaceError
from scale_airflow.workspaces.broker import Broker
from scale_airflow.workspaces.directory import DirectoryBroker


def local_directory(place: NfsMount | HostDirectory, mounts: Mapping[str, str]) -> Path:
    """Return where this host has it: the document's ``mount_on``, else ``[scale] mounts``, else its path."""
    if isinstance(place, HostDirectory):
        return Path(place.path)
    if place.mount_on is not None:
        return Path(place.mount_on)
    return Path(mounts.get(place.mount, place.path))


def resolve(directory: Path, allowed_roots: Sequence[Path]) -> Path:
    """Return the directory with its links resolved, if it then lies below an allowed root.

    :raises WorkspaceError: if it does not, does not exist, or is no directory; with what to do about it.
    """
    if not directory.is_absolute():
        raise WorkspaceError(f"The directory {directory} is not an absolute path.")
    try:
        real = directory.resolve(strict=True)
    except FileNotFoundError:
        raise WorkspaceError(
            f"The directory {directory} is not there. Mount it, or say in [scale] mounts where it is."
        ) from None
    except (OSError, RuntimeError) as error:
        raise WorkspaceError(f"The directory {directory} can't be reached: {error}.") from error
    if not real.is_dir():
        raise WorkspaceError(f"{directory} is not a directory.")
    if not any(real.is_relative_to(root.resolve()) for root in allowed_roots):
        allowed = ", ".join(str(root) for root in allowed_roots) or "none is set"
        raise WorkspaceError(
            f"The directory {directory} (really {real}) is not below [scale] allowed_roots ({allowed})."
        )
    return real


def broker_for(
    configuration: WorkspaceConfiguration | Mapping[str, Any],
    *,
    mounts: Mapping[str, str],
    allowed_roots: Sequence[Path],
) -> Broker:
    """Return the broker of a workspace's configuration document.

    :raises InvalidDocument: if the document is not valid.
    :raises WorkspaceError: if its directory may not be used or is not there.
    """
    if not isinstance(configuration, WorkspaceConfiguration):
        configuration = WorkspaceConfiguration.parse(configuration)
    directory = local_directory(configuration.broker, mounts)
    error_name = "nfs" if configuration.type == "nfs" else "filesystem-io"
    return DirectoryBroker(resolve(directory, allowed_roots), error_name=error_name)
