# SPDX-License-Identifier: Apache-2.0
"""The content of stored files, only through their workspace's broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy.orm import Session, joinedload

from scale_airflow.config import settings
from scale_airflow.errors import NotFound
from scale_airflow.services.lookup import MAX_ID
from scale_airflow.store.models import ScaleFile
from scale_airflow.workspaces.broker import Broker
from scale_airflow.workspaces.confined import MissingPath
from scale_airflow.workspaces.mounts import broker_for


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that can be read now.

    :param etag: identifies the content: its sha256, or else the row and its last change.
    """

    file_name: str
    media_type: str
    etag: str
    path: str
    broker: Broker

    def open(self) -> BinaryIO:
        """Open the file for reading.

        :raises NotFound: if it is no longer in its workspace.
        :raises WorkspaceError: if the workspace can't be read.
        """
        try:
            return self.broker.open(self.path)
        except MissingPath:
            raise NotFound(f"The file {self.file_name} is no longer in its workspace.") from None


def file_details(session: Session, file_id: int) -> ScaleFile:
    """Return a file of any kind with its workspace.

    :raises NotFound: if there is no such file.
    """
    found = None
    if 0 < file_id <= MAX_ID:
        found = session.get(ScaleFile, file_id, options=(joinedload(ScaleFile.workspace),))
    if found is None:
        raise NotFound(f"There is no file with the id {file_id}.")
    return found


def content_of(file: ScaleFile) -> FileContent:
    """Return the way to a file's content.

    :raises NotFound: if the file has been deleted.
    :raises WorkspaceError: if its workspace's directory may not be used or is not there.
    """
    if file.is_deleted:
        raise NotFound(f"The file {file.file_name} has been deleted.")
    found = settings()
    broker = broker_for(file.workspace.json_config, mounts=found.mounts, allowed_roots=found.allowed_roots)
    etag = file.checksum or f"{file.id}-{file.last_modified.timestamp():.6f}"
    return FileContent(file.file_name, file.media_type, etag, file.file_path, broker)
