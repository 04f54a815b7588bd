# SPDX-License-Identifier: Apache-2.0
"""Checksums of files on their way: what a remote file promises, and whether the bytes keep it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Literal

from scale_airflow.rescale.file_models import RemoteFile

Proof = Literal["sha512", "md5", "size"]
"""What says that a file is right: old files of Rescale's have an MD5 only, or nothing but their size."""

HASH_BLOCK = 1 << 20


@dataclass(frozen=True)
class Promise:
    """What a remote file's metadata promise of its bytes: the strongest checksum there is."""

    proof: Proof
    value: str

    @classmethod
    def of(cls, file: RemoteFile) -> Promise:
        """Return what a file promises."""
        if file.sha512 is not None:
            return cls("sha512", file.sha512)
        if file.md5 is not None:
            return cls("md5", file.md5)
        return cls("size", str(file.size))

    @property
    def text(self) -> str:
        """The promise as a text that is another for other bytes."""
        return f"{self.proof} {self.value}"

    def is_kept_by(self, digests: Digests) -> bool:
        """Return whether the checksum is that of the bytes; of a mere size nothing more is asked here."""
        return self.proof == "size" or digests.value(self.proof) == self.value


class Digests:
    """The checksums of bytes in order: always SHA-512, and MD5 where only that was promised."""

    def __init__(self, proof: Proof) -> None:
        self._sha512 = hashlib.sha512()
        self._md5 = hashlib.md5(usedforsecurity=False) if proof == "md5" else None

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        self._sha512.update(data)
        if self._md5 is not None:
            self._md5.update(data)

    @property
    def sha512(self) -> str:
        """In lower case hex."""
        return self._sha512.hexdigest()

    def value(self, proof: Proof) -> str:
        """Return the checksum of a kind, "" if it was not asked for."""
        if proof == "md5":
            return self._md5.hexdigest() if self._md5 is not None else ""
        return self.sha512


def digests_of_file(fd: int, proof: Proof = "sha512", size: int | None = None) -> Digests:
    """Return the checksums of an open file's bytes, of the first ``size`` where that is given."""
    digests = Digests(proof)
    buffer = memoryview(bytearray(HASH_BLOCK))
    position = 0
    while size is None or position < size:
        wanted = HASH_BLOCK if size is None else min(HASH_BLOCK, size - position)
        count = os.preadv(fd, [buffer[:wanted]], position)
        if not count:
            break
        digests.update(buffer[:count])
        position += count
    return digests


def digests_if_right(fd: int, promise: Promise, size: int) -> Digests | None:
    """Return the checksums of an open file that is as promised, None if it is not or can't be told."""
    if promise.proof == "size" or os.fstat(fd).st_size != size:
        return None
    digests = digests_of_file(fd, promise.proof)
    return digests if promise.is_kept_by(digests) else None
