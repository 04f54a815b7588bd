# SPDX-License-Identifier: Apache-2.0
"""A process of its own that transfers: to be killed, or to have its memory measured."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.transfers import Downloader, Progress, Uploader

URL, KEY, WHAT, FILE, PLACE = json.loads(sys.argv[1])
CREDENTIALS = Credentials.of(URL, KEY)
halves = iter(["half"])


def tell(progress: Progress) -> None:
    if WHAT == "download" and 2 * progress.total_done >= progress.total and (said := next(halves, None)):
        print(said, flush=True)


def peak() -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


before = peak()
with Downloader(CREDENTIALS, connections=4) as downloader:
    (found,) = downloader.download([RemoteFile(FILE)], PLACE, progress=tell)
if WHAT == "both":
    with Uploader(CREDENTIALS, connections=4) as uploader:
        uploader.upload([found.path], reuse=False)
print(json.dumps({"MiB": peak() - before}))
