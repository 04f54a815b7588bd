# SPDX-License-Identifier: Apache-2.0
"""How records look in answers."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from scale_airflow.rescale.emulator.moments import with_offset, with_old_offset, with_z
from scale_airflow.rescale.emulator.records import FileRecord, RunRecord, StatusRecord
from scale_airflow.rescale.emulator.state import State


def file_document(record: FileRecord, origin: str) -> dict[str, Any]:
    """Return a File object.

    :param origin: scheme, host and port that the client knows.
    """
    path = f"user/user_demo/{record.blob}/{record.relative_path}"
    if record.job_id is not None:
        path = f"user/user_demo/output/job_{record.job_id}/run{record.run_id}/{record.relative_path}"
    document = {
        "id": record.id,
        "name": record.name,
        "typeId": record.type_id,
        "dateUploaded": with_z(record.uploaded) if record.sha512 else with_old_offset(record.uploaded),
        "relativePath": record.relative_path,
        "path": path,
        "pathParts": {"path": path, "container": "emulated-storage"},
        "decryptedSize": record.size,
        "downloadUrl": f"{origin}/api/v2/files/{record.id}/contents/",
        "owner": record.owner,
        "sharedWith": record.shared_with,
        "isUploaded": True,
        "isDeleted": record.is_deleted,
        "viewInBrowser": record.name.endswith((".log", ".txt", ".png")),
        "md5": record.md5,
        # No key at all (nothing is encrypted here), but a secret in form: clients must not let it out.
        "encodedEncryptionKey": base64.b64encode(hashlib.sha256(record.id.encode()).digest()).decode(),
        "storage": {
            "id": "pCTMk",
            "storageType": "S3Storage",
            "encryptionType": "default",
            "connectionSettings": {"region": "us-east-1"},
        },
    }
    if record.sha512 is not None:
        document["fileChecksums"] = [{"hashFunction": "sha512", "fileHash": record.sha512}]
    return document


def run_document(record: RunRecord, state: State) -> dict[str, Any]:
    """Return a run; files are counted once it ended."""
    outputs = state.output_files(record.job_id, record.id) if record.completed else []
    return {
        "id": record.id,
        "dateStarted": with_z(record.started),
        "dateCompleted": with_z(record.completed),
        "displayOrder": int(record.id),
        "isOptimal": record.is_optimal,
        "outputFileCount": len(outputs),
        "outputFileSize": sum(one.size for one in outputs) if record.completed else None,
        "parent": record.parent,
        "type": record.type,
        "variables": record.variables,
    }


def status_document(record: StatusRecord, *, offset: bool) -> dict[str, Any]:
    """Return an entry of a status history.

    :param offset: write the date with ``+00:00`` instead of ``Z``.
    """
    return {
        "id": record.id,
        "status": record.status,
        "statusDate": with_offset(record.date) if offset else with_z(record.date),
        "statusReason": record.reason,
    }
