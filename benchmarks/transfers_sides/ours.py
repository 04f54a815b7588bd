# SPDX-License-Identifier: Apache-2.0
"""scale-airflow's side: downloads, plain uploads, uploads as volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taking import take, task

from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.transfers import Downloader, Progress, Uploader

TASK = task()
CREDENTIALS = Credentials.of(TASK["url"], TASK["key"])


def download() -> None:
    """Fetch files, and say when half of the bytes are there."""
    halves = iter(["half"])

    def tell(progress: Progress) -> None:
        if 2 * progress.total_done >= progress.total and (said := next(halves, None)):
            print(said, flush=True)

    files = [RemoteFile.from_document(document) for document in TASK["files"]]
    options = {"connections": TASK["connections"]} if TASK["connections"] else {}
    with Downloader(CREDENTIALS, **options) as downloader:
        found = downloader.download(files, TASK["directory"], progress=tell)
    assert all(each.verified == "sha512" and not each.kept for each in found)


def upload() -> dict[str, Any]:
    """Send one file over one connection."""
    with Uploader(CREDENTIALS, connections=1) as uploader:
        (file,) = uploader.upload([Path(TASK["path"])], reuse=False)
    return {"files": [file.id]}


def volumes() -> dict[str, Any]:
    """Send one file as volumes."""
    with Uploader(CREDENTIALS, connections=TASK["connections"]) as uploader:
        sent = uploader.upload_volumes(Path(TASK["path"]), reuse=False)
    return {
        "files": [file.id for file in sent.files],
        "sent": sent.sent,
        "prelude": sent.prelude,
        "sha512": sent.sha512,
    }


take({"download": download, "upload": upload, "volumes": volumes}[TASK["what"]])
