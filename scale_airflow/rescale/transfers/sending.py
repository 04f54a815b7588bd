# SPDX-License-Identifier: Apache-2.0
"""Sends one file to Rescale: with its exact length, in constant memory, compared with what arrived."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from scale_airflow.errors import CorruptTransfer, RescaleBadAnswer, RescaleError, RescaleThrottled
from scale_airflow.rescale.calls import Call, Pause, Scope, path_of
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.documents import parse_json
from scale_airflow.rescale.endpoints_files import delete_file, list_files
from scale_airflow.rescale.exchange import API
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.policy import Attempts, RequestPolicy
from scale_airflow.rescale.refusals import explain
from scale_airflow.rescale.transfers.connections import Broken, ByteAnswer, ByteConnection, Network
from scale_airflow.rescale.transfers.hashing import Digests
from scale_airflow.rescale.transfers.progress import FileMeter, Share
from scale_airflow.rescale.transfers.schedule import Schedule, Stopped
from scale_airflow.rescale.transfers.sources import Source

_BUSY = (429, 503)
_MOST_ANSWER = 1 << 20
_CLOCKS_DIFFER = timedelta(minutes=5)
_LOOK_AT = 100


class Sender:
    """One worker's way to send files.

    :param client: for everything but the bytes themselves.
    :param policy: how patient the sending itself is.
    """

    def __init__(
        self, client: RescaleClient, policy: RequestPolicy, network: Network, schedule: Schedule
    ) -> None:
        self._client, self._policy, self._schedule = client, policy, schedule
        self._uncertain: list[_Upload] = []
        self.connection = ByteConnection(network)

    def send(self, source: Source, meter: FileMeter | Share) -> tuple[RemoteFile, str]:
        """Send bytes and return the new file, which has them, and their SHA-512.

        :param meter: counts what has gone.
        If an answer is lost, the file that may have come about is looked for before anything is sent again.

        :raises CorruptTransfer: if other bytes arrived, twice.
        :raises TransferError: if the source changes or can't be read.
        :raises RescaleError: if Rescale refuses, or fails for longer than the policy is patient.
        :raises Stopped: if everything ends.
        """
        for _ in range(2):
            upload = _Upload(self._client, self._policy, self._schedule, meter, self.connection, source)
            try:
                file = upload.run()
            except Stopped:
                if upload.is_through:
                    self._uncertain.append(upload)
                raise
            if file.sha512 in (None, upload.sha512) and file.size in (None, source.size):
                return file, upload.sha512
            meter.restart()
            with suppress(RescaleError):
                self._client.send(delete_file(file.id))
        raise CorruptTransfer(
            f"{source.name}: other bytes than those sent arrived at Rescale, twice: sha512 is {file.sha512}, "
            f"not {upload.sha512}. They were deleted there.",
            name=source.name,
        )

    def leftovers(self) -> list[RemoteFile]:
        """Return files that have come about although nobody waited for the answer, when all has ended."""
        looked = [upload.look() for upload in self._uncertain]
        return [file for file in looked if file is not None]


class _Upload:
    """The attempts at sending one file once."""

    def __init__(
        self,
        client: RescaleClient,
        policy: RequestPolicy,
        schedule: Schedule,
        meter: FileMeter | Share,
        connection: ByteConnection,
        source: Source,
    ) -> None:
        self._client, self._policy = client, policy
        self._schedule, self._meter = schedule, meter
        self._connection, self._source = connection, source
        self._call: Call[RemoteFile] = Call(
            "POST", path_of("files", "contents"), RemoteFile.from_document, scope=Scope.FILE_ACCESS
        )
        self._begun = datetime.now(timezone.utc) - _CLOCKS_DIFFER
        self.is_through = False
        self.sha512 = ""

    def run(self) -> RemoteFile:
        """Send until it has arrived."""
        attempts = self._policy.attempts(self._call)
        while True:
            self._meter.restart()
            self.is_through = False
            try:
                found = self._attempt(attempts)
            except RescaleError as error:
                if self.is_through and (arrived := self.look()) is not None:
                    return arrived
                error.args = (f"{self._source.name}: {error}",)
                raise
            if isinstance(found, RemoteFile):
                return found
            if self.is_through and (arrived := self.look()) is not None:
                return arrived
            self._schedule.pause(found.seconds)

    def _attempt(self, attempts: Attempts) -> RemoteFile | Pause:
        try:
            self._take_turn()
            return self._once(attempts)
        except Broken as broken:
            if self._schedule.is_stopped:
                raise Stopped from None
            return attempts.failed(broken.failure, self._client.credentials.shown)

    def _take_turn(self) -> None:
        scope, policy = self._call.scope, self._policy
        wait = self._client.rates.reserve(scope)
        if wait > policy.longest_pause:
            self._client.rates.give_back(scope)
            raise RescaleThrottled(
                f"{self._call}: the limit of requests ({scope.value}) is used up for another {wait:.0f} s.",
                retry_after=wait,
            )
        if wait > 0:
            self._schedule.pause(wait)

    def _once(self, attempts: Attempts) -> RemoteFile | Pause:
        boundary = secrets.token_hex(16)
        head = _head(boundary, self._source.name)
        tail = f"\r\n--{boundary}--\r\n".encode()
        credentials = self._client.credentials
        answer = self._connection.post(
            f"{credentials.base_url}{API}{self._call.path}",
            {
                "Accept": "application/json",
                "Authorization": credentials.authorization,
                "Content-Type": f"multipart/form-data; boundary={boundary}",
            },
            self._body(head, tail),
            len(head) + self._source.size + len(tail),
        )
        try:
            if 200 <= answer.status < 300:
                return self._read(attempts, answer)
            return self._refused(attempts, answer)
        finally:
            answer.leave()

    def _body(self, head: bytes, tail: bytes) -> Iterator[bytes | memoryview]:
        digests = Digests("sha512")
        yield head
        for block in self._source.blocks():
            digests.update(block)
            yield block
            self._meter.add(len(block))
            self._schedule.arrived(len(block))
        self._source.check()
        self.sha512 = digests.sha512
        self.is_through = True
        yield tail

    def _read(self, attempts: Attempts, answer: ByteAnswer) -> RemoteFile | Pause:
        try:
            return RemoteFile.from_document(parse_json(answer.whole_body(_MOST_ANSWER)))
        except (ValueError, RescaleBadAnswer):
            return attempts.misunderstood("the answer does not describe the new file", answer.status)

    def _refused(self, attempts: Attempts, answer: ByteAnswer) -> Pause:
        if answer.status in _BUSY:
            self._schedule.throttled()
        if answer.status < 500:
            self.is_through = False  # refused: nothing has come about
        plain = answer.as_answer()
        credentials = self._client.credentials
        explanation = explain(plain.body, server=credentials.shown, secret=credentials.api_key.reveal())
        pause = attempts.answered(plain, explanation)
        if answer.status == 429 and pause is not None:
            self._client.rates.throttled(self._call.scope, pause.seconds)
        return pause or Pause(0.0)

    def look(self) -> RemoteFile | None:
        """Return the file that an attempt has made although its answer was lost, None if there is none."""
        with suppress(RescaleError):
            for number, file in enumerate(self._client.pages(list_files(search=self._source.name))):
                if number >= _LOOK_AT:
                    break
                fits = file.name == self._source.name and file.size == self._source.size
                new = file.uploaded is not None and file.uploaded >= self._begun
                if fits and new and file.sha512 == self.sha512 and not file.is_deleted:
                    return file
        return None


def _head(boundary: str, name: str) -> bytes:
    # As Django, and with it Rescale, reads it: the %22 of RFC 7578 would stay in the name there.
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


__all__ = ["Sender"]
