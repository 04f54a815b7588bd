# SPDX-License-Identifier: Apache-2.0
"""Files, directories and storage devices of Rescale's answers, typed (as those of the module ``models``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from scale_airflow.rescale.documents import Documented, Fields

_SHA512 = re.compile(r"[0-9a-fA-F]{128}")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


class FileType(IntEnum):
    """What a file is to a job."""

    INPUT = 1
    TEMPLATE = 2
    PARAM = 3
    SCRIPT = 4
    OUTPUT = 5
    DESIGN_VARIABLE = 7
    CASE = 8
    OPTIMIZER = 9
    TEMPORARY = 10
    CHECKPOINT_ARCHIVE = 11
    SNAPSHOT = 12


@dataclass(frozen=True)
class RemoteFile(Documented):
    """A file at Rescale. Names are not unique; ids are.

    :param relative_path: the path in the run's directory; not trustworthy as a local path.
    :param size: bytes; None where the answer does not tell (an input that is named by its id only).
    :param type_id: one of :class:`FileType`, as far as known.
    :param sha512: lower case hex; None on old files.
    :param md5: lower case hex; only on old files.
    """

    id: str
    name: str = ""
    relative_path: str = ""
    size: int | None = None
    type_id: int | None = None
    sha512: str | None = None
    md5: str | None = None
    uploaded: datetime | None = None
    is_uploaded: bool = True
    is_deleted: bool = False
    download_url: str = ""

    @classmethod
    def from_document(cls, document: Any) -> RemoteFile:
        """Read a file."""
        fields = Fields(document, "file")
        name = fields.text_or("name")
        size = fields.number("decryptedSize")
        if size is not None and size < 0:
            raise fields.wrong("decryptedSize", "a size")
        md5 = fields.text_or("md5")
        return cls(
            fields.text("id"),
            name,
            fields.text_or("relativePath") or name,
            size,
            fields.number("typeId"),
            _sha512(fields),
            md5.lower() if _MD5.fullmatch(md5) else None,
            fields.moment("dateUploaded"),
            fields.document.get("isUploaded") is not False,
            fields.flag("isDeleted"),
            fields.text_or("downloadUrl"),
            document=fields.document,
        )


def _sha512(fields: Fields) -> str | None:
    for row in fields.rows("fileChecksums"):
        if isinstance(row, dict) and str(row.get("hashFunction", "")).lower().replace("-", "") == "sha512":
            found = str(row.get("fileHash") or "")
            if _SHA512.fullmatch(found):
                return found.lower()
    return None


@dataclass(frozen=True)
class DirectoryEntry(Documented):
    """A file in the directory of a running run.

    :param path: relative to the run's directory.
    :param resource: the path of its tail in the API.
    """

    path: str
    resource: str = ""

    @classmethod
    def from_document(cls, document: Any) -> DirectoryEntry:
        """Read an entry."""
        fields = Fields(document, "directory entry")
        return cls(fields.text("path"), fields.text_or("resource"), document=fields.document)


@dataclass(frozen=True)
class Region(Documented):
    """A region in which a storage device can be."""

    id: str
    name: str = ""

    @classmethod
    def from_document(cls, document: Any) -> Region:
        """Read a region."""
        fields = Fields(document, "region")
        return cls(fields.text("id"), fields.text_or("name"), document=fields.document)


@dataclass(frozen=True)
class StorageDevice(Documented):
    """A storage device: a file system that several jobs share. It costs money from submit to shutdown."""

    id: str
    name: str = ""
    size_gb: int | None = None

    @classmethod
    def from_document(cls, document: Any) -> StorageDevice:
        """Read a storage device."""
        fields = Fields(document, "storage device")
        return cls(
            fields.text("id"), fields.text_or("name"), fields.number("storageSize"), document=fields.document
        )


@dataclass(frozen=True)
class StorageDeviceStatus(Documented):
    """One entry of a storage device's history; it is usable once it is ``Started``."""

    status: str
    date: datetime | None = None
    reason: str | None = None

    @classmethod
    def from_document(cls, document: Any) -> StorageDeviceStatus:
        """Read an entry of a storage device's history."""
        fields = Fields(document, "status of a storage device")
        return cls(
            fields.text("status"),
            fields.moment("statusDate"),
            fields.text_or("statusReason") or None,
            document=fields.document,
        )
