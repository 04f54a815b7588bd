# SPDX-License-Identifier: Apache-2.0
"""One large file as compressed volumes: cut, compressed and sent at the same time, with bounded memory.

Rescale takes a file in one piece over one connection. Volumes go over many, and what can be compressed goes
compressed, as long as that is not what everything waits for: connections with nothing to send get the bytes
as they are. A program that goes with them puts the file together in the job (``assemble.py``).
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import secrets
import shlex
import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from scale_airflow.errors import RescaleError, TransferError
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.endpoints_files import get_file_contents, list_files
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.transfers.adaptation import Adaptation
from scale_airflow.rescale.transfers.crew import run_crew
from scale_airflow.rescale.transfers.pieces import MIB
from scale_airflow.rescale.transfers.progress import Listener, Meter, Share
from scale_airflow.rescale.transfers.schedule import Schedule, Stopped, Work
from scale_airflow.rescale.transfers.sending import Sender
from scale_airflow.rescale.transfers.sources import FileSource, HeldSource

if TYPE_CHECKING:
    from scale_airflow.rescale.transfers.upload import Uploader

SLICE = MIB
"""Bytes that are compressed at a time."""
_LEVEL = 1
_VOLUME = 8 * MIB
"""Bytes of a volume at most, but for files so large that there would be too many: a second's worth or so."""
_HELD = 48 * MIB
"""Bytes of all volumes that are held in memory; what is more lies in unnamed files on the disk."""
_MOST_VOLUMES = 400
_FIRST = 4
_HOPELESS = 0.95
_SKIP = 16
_PROGRAM = Path(__file__).with_name("assemble.py")
_SPEC = re.compile(r"^SPEC = (.+)$", re.MULTILINE)
_LOOK_AT = 300


@dataclass(frozen=True)
class Volumes:
    """A file at Rescale in volumes.

    :param name: what the file is called in the job, once it is put together.
    :param size: bytes of the file.
    :param sha512: of the file.
    :param files: the volumes, and last the program that puts them together.
    :param sent: bytes that were sent; 0 if all was there already.
    """

    name: str
    size: int
    sha512: str
    files: tuple[RemoteFile, ...]
    sent: int

    @property
    def input_files(self) -> list[dict[str, Any]]:
        """The entries of the job's ``inputFiles``: volumes must not be unpacked by anybody else."""
        return [{"id": file.id, "decompress": False} for file in self.files]

    @property
    def prelude(self) -> str:
        """The line with which the job's command begins; it ends the command if the file can't be right."""
        return f"python3 {shlex.quote(self.files[-1].name)} || exit 1"

    def wrap(self, command: str) -> str:
        """Return a command that finds the file."""
        return f"{self.prelude}\n{command}"


@dataclass(frozen=True)
class _Sent:
    """A volume that is there: which bytes of the file it holds, and its checksum."""

    file: RemoteFile
    offset: int
    length: int
    size: int
    sha512: str


class VolumesUpload:
    """One call of ``upload_volumes``."""

    def __init__(
        self,
        uploader: Uploader,
        source: FileSource,
        progress: Listener | None,
        volume_size: int | None,
    ) -> None:
        self._uploader, self._source = uploader, source
        self._meter = Meter(progress, 1, source.size)
        self._progress = self._meter.file(source.name, source.size)
        self._schedule = Schedule(Adaptation(uploader.connections, start=uploader.connections))
        self._senders: list[Sender] = []
        self._in_memory = _HELD // (uploader.connections + 2)
        self._volume_size = max(volume_size or max(_VOLUME, source.size // _MOST_VOLUMES), SLICE)
        self._room = threading.Semaphore(uploader.connections + 2)
        self._stem = _stem(source.name)
        self._token = secrets.token_hex(6)
        self._volumes: dict[int, _Sent] = {}
        self._held: set[IO[bytes]] = set()
        self._script: RemoteFile | None = None
        self._sha512 = ""

    def run(self, *, reuse: bool) -> Volumes:
        """Do it."""
        if reuse and (found := StoredVolumes(self._uploader.client, self._source, self._stem).find()):
            self._progress.whole()
            return found
        self._senders += [self._uploader.sender(self._schedule) for _ in range(self._uploader.connections)]
        try:
            connections = [sender.connection for sender in self._senders]
            run_crew(self._schedule, connections, self._meter.tick, self._cut)
            assert self._script is not None
            self._progress.whole()
        except BaseException:
            left = [volume.file for volume in self._volumes.values()]
            self._uploader.delete(
                [*left, *([self._script] if self._script else [])], search=f"{self._stem}.{self._token}."
            )
            raise
        finally:
            for held in self._held:
                held.close()
        volumes = [self._volumes[number] for number in sorted(self._volumes)]
        return Volumes(
            self._source.name,
            self._source.size,
            self._sha512,
            (*(volume.file for volume in volumes), self._script),
            sum(volume.size for volume in volumes),
        )

    def _cut(self) -> None:
        """Compress the file, hand out volume after volume, and at last the program."""
        volume = self._new_volume()
        number = offset = 0
        for data, length in self._compressed():
            volume.add(data, length)
            if volume.size >= self._enough(number, offset + volume.length):
                self._hand_out(number, offset, volume)
                number, offset = number + 1, offset + volume.length
                volume = self._new_volume()
        if volume.length or not number:
            self._hand_out(number, offset, volume)
        self._schedule.wait(self._meter.tick)
        if not self._schedule.is_stopped:
            self._schedule.add([_ScriptJob(self)])

    def _new_volume(self) -> _Volume:
        volume = _Volume(self._in_memory)
        self._held.add(volume.file)
        return volume

    def _compressed(self) -> Iterator[tuple[bytes, int]]:
        """Give the file's bytes in order, compressed by several threads, and how many each stands for."""
        digest = hashlib.sha512()
        threads = max(1, min(4, cpu_count() or 1))
        ahead: deque[tuple[Future[bytes], int, int]] = deque()
        skip = 0
        with ThreadPoolExecutor(threads) as pool:
            for block in self._source.slices(SLICE):
                if self._schedule.is_stopped:
                    raise Stopped
                digest.update(block)
                level = 0 if skip or self._wait_for_us() else _LEVEL
                skip = max(0, skip - 1)
                ahead.append((pool.submit(compressed, block, level), level, len(block)))
                while ahead and (len(ahead) > 2 * threads or ahead[0][0].done()):
                    done, tried, length = ahead.popleft()
                    data = done.result()
                    if tried and len(data) > _HOPELESS * length:
                        skip = _SKIP  # random bytes and archives: don't try each
                    yield data, length
            for done, _, length in ahead:
                yield done.result(), length
        self._source.check()
        self._sha512 = digest.hexdigest()

    def _wait_for_us(self) -> bool:
        """Return whether connections have nothing to send because it is not compressed yet."""
        return len(self._volumes) >= _FIRST and self._schedule.is_hungry

    def _enough(self, number: int, offset: int) -> int:
        """Return how many bytes are enough for a volume: few at start and end, so that nobody waits."""
        rest = (self._source.size - offset) // (2 * self._uploader.connections)
        return max(SLICE, min(self._volume_size, SLICE * (1 + number // _FIRST), rest))

    def _hand_out(self, number: int, offset: int, volume: _Volume) -> None:
        while not self._room.acquire(timeout=0.2):
            if self._schedule.is_stopped:
                raise Stopped
            self._meter.tick()
        name = f"{self._stem}.{self._token}.v{number:04d}"
        source = HeldSource(volume.file, name)
        self._schedule.add([_VolumeJob(self, number, offset, volume.length, source)])

    def send_volume(self, worker: int, number: int, offset: int, length: int, source: HeldSource) -> None:
        """Send a volume and give its memory back."""
        share = Share(self._progress, length, source.size)
        file, sha512 = self._senders[worker].send(source, share)
        self._volumes[number] = _Sent(file, offset, length, source.size, sha512)
        source.close()
        self._held.discard(source.file)
        self._room.release()

    def send_script(self, worker: int) -> None:
        """Send the program that puts the volumes together."""
        name = f"{self._stem}.{self._sha512[:16]}.assemble.py"
        text = program(self._source.name, self._source.size, self._sha512, list(self._volumes.values()))
        source = HeldSource(BytesIO(text.encode()), name)
        self._script, _ = self._senders[worker].send(source, Share(self._progress, 0, source.size))

    def finished(self, job: _VolumeJob | _ScriptJob) -> None:
        """Tell the schedule that a job is done."""
        self._schedule.finished(job)


class _VolumeJob:
    """One volume; a job of the schedule that is done when it is opened."""

    def __init__(
        self, upload: VolumesUpload, number: int, offset: int, length: int, source: HeldSource
    ) -> None:
        self._upload, self._number = upload, number
        self._offset, self._length, self._source = offset, length, source

    def open(self, worker: int) -> None:
        """Send it."""
        self._upload.send_volume(worker, self._number, self._offset, self._length, self._source)
        self._upload.finished(self)

    def take(self, connections: int) -> Work | None:
        """Return nothing: a volume is sent as a whole."""
        return None

    def take_over(self) -> Work | None:
        """Return nothing: a volume is sent as a whole."""
        return None


class _ScriptJob(_VolumeJob):
    """The program; a job of the schedule that is done when it is opened."""

    def __init__(self, upload: VolumesUpload) -> None:
        self._upload = upload

    def open(self, worker: int) -> None:
        """Send it."""
        self._upload.send_script(worker)
        self._upload.finished(self)


class _Volume:
    """A volume that grows: in memory as long as it is not too large for that."""

    def __init__(self, in_memory: int) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 - closed when sent
        self.size = self.length = 0

    def add(self, data: bytes, length: int) -> None:
        """Add compressed bytes, which stand for ``length`` bytes of the file."""
        try:
            self.file.write(data)
        except OSError as error:
            raise TransferError(
                f"A volume can't be stored in {tempfile.gettempdir()} until it is sent: {error.strerror}."
            ) from error
        self.size += len(data)
        self.length += length


class StoredVolumes:
    """Finds the volumes of a file that are at Rescale already."""

    def __init__(self, client: RescaleClient, source: FileSource, stem: str) -> None:
        self._client, self._source, self._stem = client, source, stem

    def find(self) -> Volumes | None:
        """Return the volumes of the same bytes, None if they are not all there."""
        try:
            programs = self._named(f"{self._stem}.", r"\.[0-9a-f]{16}\.assemble\.py")
            if not programs:
                return None
            digest = hashlib.sha512()
            for block in self._source.blocks():
                digest.update(block)
            self._source.check()
            sha512 = digest.hexdigest()
            fitting = programs.get(f"{self._stem}.{sha512[:16]}.assemble.py")
            return self._whole(fitting, sha512) if fitting is not None else None
        except RescaleError as error:
            if isinstance(error, TransferError):
                raise
            return None  # not worth an error: then it is sent

    def _whole(self, script: RemoteFile, sha512: str) -> Volumes | None:
        spec = spec_of(self._client.send(get_file_contents(script.id)))
        told = (spec.get("name"), spec.get("size"), spec.get("sha512"))
        if told != (self._source.name, self._source.size, sha512):
            return None
        volumes = spec["volumes"]
        prefix = str(volumes[0]["name"]).rpartition(".")[0]
        there = self._named(f"{prefix}.", r"\.v\d+", prefix)
        files = [there.get(volume["name"]) for volume in volumes]
        fits = all(
            file is not None and (file.size, file.sha512) == (volume["size"], volume["sha512"])
            for file, volume in zip(files, volumes, strict=True)
        )
        found = tuple(file for file in files if file is not None)
        return Volumes(self._source.name, self._source.size, sha512, (*found, script), 0) if fits else None

    def _named(self, search: str, ending: str, stem: str | None = None) -> dict[str, RemoteFile]:
        pattern = re.compile(re.escape(self._stem if stem is None else stem) + ending)
        most = _LOOK_AT if stem is None else 2 * _MOST_VOLUMES
        found: dict[str, RemoteFile] = {}
        for file in islice(self._client.pages(list_files(search=search)), most):
            if pattern.fullmatch(file.name) and file.is_uploaded and not file.is_deleted:
                found.setdefault(file.name, file)
        return found


def compressed(block: bytes, level: int) -> bytes:
    """Return bytes as a gzip stream; level 0 leaves them as they are, between its marks."""
    stream = zlib.compressobj(level, zlib.DEFLATED, 31)
    return stream.compress(block) + stream.flush()


def program(name: str, size: int, sha512: str, volumes: Sequence[_Sent]) -> str:
    """Return the program that puts a file together, complete with what it has to know."""
    spec = {
        "name": name,
        "size": size,
        "sha512": sha512,
        "volumes": [
            {
                "name": volume.file.name,
                "size": volume.size,
                "sha512": volume.sha512,
                "offset": volume.offset,
                "length": volume.length,
            }
            for volume in sorted(volumes, key=lambda each: each.offset)
        ],
    }
    return f"{_PROGRAM.read_text('utf-8')}\n\nSPEC = {json.dumps(spec)!a}\nsys.exit(main(SPEC))\n"


def spec_of(text: bytes) -> dict[str, Any]:
    """Return what a program has to know, {} if that can't be told."""
    found = _SPEC.search(text.decode("utf-8", "replace"))
    try:
        spec = json.loads(ast.literal_eval(found[1])) if found else {}
        for volume in spec["volumes"]:
            _ = str(volume["name"]), int(volume["size"]), str(volume["sha512"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError):
        return {}
    return spec if spec["volumes"] else {}


def _stem(name: str) -> str:
    """Return a name without anything that a shell or a pattern could take for something else."""
    return re.sub(r"^[.-]", "_", re.sub(r"[^A-Za-z0-9._-]", "_", name))[:100]
