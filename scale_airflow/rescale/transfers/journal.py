# SPDX-License-Identifier: Apache-2.0
"""What has arrived of a file, so that a transfer goes on where a killed one stopped.

Lines of text: first a JSON object that says of which file (id, size, checksum) and during which boot of the
machine; then ``start-end`` for each range in the file, ``etag`` when the first answer has told one, and
``synced N`` when the first N ranges are on the disk. A process that was killed has lost nothing of what it
wrote; only after a crash of the machine do no more ranges count than the last ``synced`` says. A last line
that is not whole does not count.
"""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from scale_airflow.rescale.transfers.pieces import Range, merged

_RANGE = re.compile(r"(\d{1,19})-(\d{1,19})")
_SYNCED = re.compile(r"synced (\d{1,9})")
_ETAG = re.compile(r'etag (".*")')
_LONGEST = 64 * (1 << 20)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """Of which remote file the bytes are: if anything differs, they are not used."""

    file_id: str
    size: int
    checksum: str

    def as_dict(self) -> dict[str, str | int]:
        """Return the form in the journal."""
        return {"file": self.file_id, "size": self.size, "checksum": self.checksum}


def boot_id() -> str:
    """Return what is different after each start of the machine, "" where nothing tells."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class Journal:
    """The journal of one file; ``note`` and ``synced`` may be called from any thread.

    :param fd: open for reading and appending; closed by whoever opened it.
    """

    def __init__(self, fd: int, identity: Identity) -> None:
        self._fd = fd
        self._identity = identity
        self._lock = threading.Lock()
        self._noted = 0
        self.etag: str | None = None
        self.is_current = False

    @property
    def noted(self) -> int:
        """How many ranges were noted: with this number say later that they are :meth:`synced`."""
        with self._lock:
            return self._noted

    def load(self) -> list[Range]:
        """Return what is in the file already, in order; nothing if the journal is of another one."""
        lines = self._read().split("\n")[:-1]  # what follows the last line feed was cut off
        try:
            head = json.loads(lines[0]) if lines else None
        except ValueError:
            head = None
        if not isinstance(head, dict) or any(
            head.get(key) != value for key, value in self._identity.as_dict().items()
        ):
            return []
        self.etag = head.get("etag") if isinstance(head.get("etag"), str) else None
        boot = boot_id()
        same_boot = bool(boot) and head.get("boot") == boot
        ranges: list[Range] = []
        safe = 0
        for line in lines[1:]:
            if told := _SYNCED.fullmatch(line):
                safe = int(told[1])
            elif told := _ETAG.fullmatch(line):
                self.etag = _text(told[1])
            elif found := _RANGE.fullmatch(line):
                start, end = int(found[1]), int(found[2])
                if start < end <= self._identity.size:
                    ranges.append((start, end))
        self._noted = len(ranges)
        self.is_current = same_boot
        return merged(ranges if same_boot else ranges[:safe])

    def begin(self, done: list[Range], etag: str | None) -> None:
        """Write the journal anew, with what is in the file and on the disk.

        A single write of few bytes: either the first line is whole, or nothing counts.
        """
        self.etag = etag
        head = {**self._identity.as_dict(), "etag": etag, "boot": boot_id()}
        ranges = [f"{start}-{end}" for start, end in done]
        text = "\n".join([json.dumps(head), *ranges, f"synced {len(ranges)}", ""])
        with self._lock:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, text.encode())
            self._noted = len(ranges)
            self.is_current = True

    def tag(self, etag: str) -> None:
        """Note the ETag of the first answer."""
        self.etag = etag
        with self._lock:
            os.write(self._fd, f"etag {json.dumps(etag)}\n".encode())

    def note(self, start: int, end: int) -> None:
        """Note a range that is in the file."""
        if start < end:
            with self._lock:
                os.write(self._fd, f"{start}-{end}\n".encode())
                self._noted += 1

    def synced(self, count: int) -> None:
        """Note that the first ``count`` ranges are on the disk."""
        with self._lock:
            os.write(self._fd, f"synced {count}\n".encode())
        os.fdatasync(self._fd)

    def _read(self) -> str:
        size = min(os.fstat(self._fd).st_size, _LONGEST)
        return os.pread(self._fd, size, 0).decode("ascii", "replace")


def _text(written: str) -> str | None:
    try:
        return str(json.loads(written))
    except ValueError:
        return None
