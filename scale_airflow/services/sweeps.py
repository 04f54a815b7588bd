# SPDX-License-Identifier: Apache-2.0
"""What a Strike sensor sees in its directory becomes ingests: recorded before they move, moved before they
are forgotten.

Each call is one transaction under the Strike process's lock, and may be repeated: after a crash the next
sensor gets every move that was recorded and not reported.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import PurePath

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from scale_airflow.compiler.names import WATCH_TASK_ID
from scale_airflow.config import settings
from scale_airflow.definitions.media_types import guess
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.errors import Fault, InvalidRequest, NotFound
from scale_airflow.execution.ingest import names
from scale_airflow.execution.ingest.messages import (
    DEFERRED,
    INGESTING,
    Arrival,
    ListedFile,
    MovedAnswer,
    MovedRequest,
    MoveOrder,
    MoveResult,
    ProgressAnswer,
    ProgressRequest,
    SettleAnswer,
    SettleRequest,
    SweepAnswer,
    SweepRequest,
    WatchAnswer,
    WatchRequest,
)
from scale_airflow.services.strike_tasks import is_due, require_task
from scale_airflow.services.strikes import version_of
from scale_airflow.store.models import Ingest, Strike, Workspace, utcnow
from scale_airflow.workspaces.mounts import local_directory

log = logging.getLogger(__name__)

MAX_SIZE = 2**63 - 1
_MOVE_RETRY = timedelta(seconds=60)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def watch(session: Session, strike_id: int, request: WatchRequest) -> WatchAnswer:
    """Begin a look at the directory: give the configuration, and what an earlier look left to do.

    :raises NotFound: if there is no such Strike process.
    :raises Forbidden: if the task is not its running sensor.
    """
    strike, _ = require_task(session, strike_id, request.task, WATCH_TASK_ID)
    if strike.job is not None and strike.is_active and strike.job.why != request.problem:
        strike.job.why = request.problem
    if not strike.is_active:
        return WatchAnswer(False, strike.name, version_of(strike), strike.configuration, (), ())
    pending = session.scalars(
        select(Ingest)
        .where(
            Ingest.strike_id == strike.id,
            Ingest.is_cleared.is_(False),
            Ingest.status.in_(("TRANSFERRING", "TRANSFERRED")),
        )
        .order_by(Ingest.id)
    ).all()
    return WatchAnswer(
        is_active=True,
        name=strike.name,
        version=version_of(strike),
        configuration=strike.configuration,
        moves=tuple(_order(ingest) for ingest in pending if ingest.status == "TRANSFERRED"),
        transferring=tuple(
            Arrival(ingest.id, ingest.file_name) for ingest in pending if ingest.status == "TRANSFERRING"
        ),
    )


def sweep(session: Session, strike_id: int, request: SweepRequest) -> SweepAnswer:
    """Record what a part of the directory's listing shows; answer where the complete files go.

    :raises InvalidRequest: if a name is no name of a file.
    """
    strike, _ = require_task(session, strike_id, request.task, WATCH_TASK_ID)
    _check_files(request.files)
    return _Sweep(session, strike).record(request.files)


def moved(session: Session, strike_id: int, request: MovedRequest) -> MovedAnswer:
    """Record what became of moves: the file is QUEUED, DEFERRED, gone, or goes elsewhere."""
    strike, _ = require_task(session, strike_id, request.task, WATCH_TASK_ID)
    ingests = _of(session, strike, [result.ingest_id for result in request.results])
    again = []
    for result in request.results:
        ingest = ingests.get(result.ingest_id)
        if ingest is None or ingest.is_moved or _relative(ingest) != result.destination:
            continue  # reported before
        if result.outcome == "moved":
            _has_moved(ingest, result)
        elif ingest.status != "TRANSFERRED":
            continue
        elif result.outcome == "taken":
            ingest.ingest_path = _other_path(ingest)
            again.append(ingest)
        elif result.outcome == "vanished":
            _has_vanished(ingest, "The file vanished before it could be moved.")
        else:
            ingest.message = _plain(result.message)
            ingest.retry_at = utcnow() + _MOVE_RETRY
    session.flush()
    return MovedAnswer(tuple(_order(ingest) for ingest in again))


def settle(session: Session, strike_id: int, request: SettleRequest) -> SettleAnswer:
    """End a look: transfers that vanished are ERRORED; say what is due, and which files nobody knows."""
    strike, _ = require_task(session, strike_id, request.task, WATCH_TASK_ID)
    for ingest in _of(session, strike, request.vanished).values():
        if ingest.status == "TRANSFERRING":
            _has_vanished(ingest, "The file vanished while it was being transferred.")
    session.flush()
    due = session.scalar(select(func.count()).select_from(Ingest).where(is_due(strike.id))) or 0
    return SettleAnswer(due, _retry_after(session, strike), _strays(session, strike, request.kept))


def progress(session: Session, strike_id: int, request: ProgressRequest) -> ProgressAnswer:
    """Record how far transfers are; tell whether the Strike process was edited or switched.

    :raises NotFound: if there is no such Strike process.
    """
    strike = session.get(Strike, strike_id)
    if strike is None:
        raise NotFound(f"There is no Strike process {strike_id}.")
    for file in request.transferring:
        if not 0 <= file.size <= MAX_SIZE:
            continue
        session.execute(
            update(Ingest)
            .where(
                Ingest.strike_id == strike_id,
                Ingest.file_name == file.name,
                Ingest.status == "TRANSFERRING",
                Ingest.bytes_transferred != file.size,
            )
            .values(bytes_transferred=file.size, last_modified=utcnow())
        )
    return ProgressAnswer(request.version != version_of(strike))


class _Sweep:
    """Records one part of a listing for one Strike process."""

    def __init__(self, session: Session, strike: Strike):
        self.session = session
        self.strike = strike
        self.configuration = StrikeConfiguration.parse(strike.configuration)
        self.directory = local_directory(self.configuration.mount, settings().mounts)
        self.now = utcnow()
        self.arriving: dict[str, Ingest] = {}
        self.taken: set[str] = set()
        rows = session.execute(
            select(Workspace.name, Workspace.id).where(
                Workspace.name.in_(self.configuration.workspace_names())
            )
        )
        self.workspace_ids: dict[str, int] = {row.name: row.id for row in rows}

    def record(self, files: Sequence[ListedFile]) -> SweepAnswer:
        """Record the files in their order."""
        suffix = self.configuration.transfer_suffix
        named = [(self._final_name(file.name), file) for file in files]
        self._load({name for name, _ in named})
        completed: list[Ingest] = []
        waiting: list[str] = []
        for name, file in named:
            ingest = self.arriving.get(name)
            if name == file.name:
                completed.append(self._complete(ingest or self._new(name, file), file))
            elif ingest is not None and ingest.status == "TRANSFERRED":
                waiting.append(name + suffix)
            else:
                ingest = ingest or self._new(name, file)
                ingest.bytes_transferred = file.size
        self._place(completed)
        return SweepAnswer(tuple(_order(ingest) for ingest in completed), tuple(waiting))

    def _final_name(self, name: str) -> str:
        suffix = self.configuration.transfer_suffix
        return name.removesuffix(suffix) if name != suffix else name

    def _load(self, wanted: set[str]) -> None:
        """Load the files of these names that are arriving, and the places that are taken for such names."""
        rows = self.session.scalars(
            select(Ingest)
            .where(
                Ingest.strike_id == self.strike.id,
                Ingest.file_name.in_(wanted),
                Ingest.status.in_(("TRANSFERRING", "TRANSFERRED")),
            )
            .with_for_update(of=Ingest)
        )
        self.arriving = {ingest.file_name: ingest for ingest in rows}
        places = [self._path(folder, name) for name in wanted for folder in (INGESTING, DEFERRED)]
        taken = self.session.scalars(
            select(Ingest.ingest_path).where(
                Ingest.strike_id == self.strike.id,
                Ingest.is_cleared.is_(False),
                Ingest.ingest_path.in_(places),
            )
        )
        self.taken = {path for path in taken if path}

    def _new(self, name: str, file: ListedFile) -> Ingest:
        ingest = Ingest(
            strike_id=self.strike.id,
            file_name=name,
            status="TRANSFERRING",
            bytes_transferred=file.size,
            transfer_path=str(self.directory / name),
            transfer_started=self.now,
            data_type=[],
            tries=0,
        )
        self.arriving[name] = ingest
        self.session.add(ingest)
        return ingest

    def _complete(self, ingest: Ingest, file: ListedFile) -> Ingest:
        """The transfer is over: the first rule that matches decides what happens."""
        is_new = ingest.id is None
        _set_facts(ingest, file)
        modified = _moment(file.mtime_ns, self.now)
        if is_new:
            ingest.transfer_started = modified
        started = ingest.transfer_started or modified
        # A clock that goes wrong, or a time that the sender set, ends no transfer before its beginning.
        ingest.transfer_ended = modified if modified >= started else self.now
        if ingest.status == "TRANSFERRED":
            return ingest
        ingest.status = "TRANSFERRED"
        ingest.media_type = guess(ingest.file_name)
        rule = None if file.problem else self.configuration.rule_for(ingest.file_name)
        workspace_id = self.workspace_ids.get(rule.workspace_name) if rule else None
        if rule is None:
            ingest.message = _plain(file.problem) or "No rule of the Strike process matches the file's name."
        elif workspace_id is None:
            ingest.message = (
                f"The workspace {rule.workspace_name} of the matching rule does not exist any more."
            )
        else:
            ingest.data_type = list(rule.data_types)
            ingest.workspace_id = workspace_id
            path = rule.workspace_path / f"{self.now:%Y}" / f"{self.now:%m}" / f"{self.now:%d}"
            ingest.file_path = str(path / ingest.file_name)
        return ingest

    def _place(self, completed: Iterable[Ingest]) -> None:
        """Give each file a place in the directory that belongs to it alone."""
        homeless = []
        for ingest in completed:
            if ingest.ingest_path is None:
                path = self._path(_folder(ingest), ingest.file_name)
                if path in self.taken:
                    homeless.append(ingest)
                else:
                    self.taken.add(path)
                    ingest.ingest_path = path
        self.session.flush()
        for ingest in homeless:
            name = names.marked(ingest.file_name, str(ingest.id))
            ingest.ingest_path = self._path(_folder(ingest), name)
        self.session.flush()

    def _path(self, folder: str, name: str) -> str:
        return str(self.directory / folder / name)


def _folder(ingest: Ingest) -> str:
    return DEFERRED if ingest.workspace_id is None else INGESTING


def _check_files(files: Iterable[ListedFile]) -> None:
    faults = [
        Fault(f"/files/{index}", "is not a file of a directory: its name, size or time can't be")
        for index, file in enumerate(files)
        if not names.is_component(file.name) or not 0 <= file.size <= MAX_SIZE
    ]
    if faults:
        raise InvalidRequest("The listing can't be read.", faults)


def _of(session: Session, strike: Strike, ids: Iterable[int]) -> dict[int, Ingest]:
    wanted = [number for number in ids if 0 < number <= MAX_SIZE]
    if not wanted:
        return {}
    found = session.scalars(
        select(Ingest)
        .where(Ingest.strike_id == strike.id, Ingest.id.in_(wanted))
        .with_for_update(of=Ingest)
        .execution_options(populate_existing=True)
    )
    return {ingest.id: ingest for ingest in found}


def _has_moved(ingest: Ingest, result: MoveResult) -> None:
    """The file is where it was to go; a report that it vanished was wrong then."""
    ingest.is_moved = True
    ingest.retry_at = None
    if result.file is not None:
        _set_facts(ingest, result.file)
    if ingest.workspace_id is None:
        ingest.status = "DEFERRED"
        ingest.is_cleared = True  # what becomes of it is its owner's business
    else:
        ingest.status = "QUEUED"
        ingest.is_cleared = False
        ingest.message = None


def _has_vanished(ingest: Ingest, message: str) -> None:
    ingest.status = "ERRORED"
    ingest.message = message
    ingest.is_cleared = True
    ingest.retry_at = None


def _set_facts(ingest: Ingest, file: ListedFile) -> None:
    if 0 <= file.size <= MAX_SIZE:
        ingest.bytes_transferred = ingest.file_size = file.size
    ingest.file_identity = file.identity


def _order(ingest: Ingest) -> MoveOrder:
    return MoveOrder(ingest.id, ingest.file_name, _relative(ingest), ingest.file_identity or "")


def _relative(ingest: Ingest) -> str:
    """Return the file's place relative to the directory."""
    return "/".join(PurePath(ingest.ingest_path or "").parts[-2:])


def _other_path(ingest: Ingest) -> str:
    """Return another place: something that is not ours lies at the first one."""
    mark = f"{ingest.id}-{secrets.token_hex(4)}"
    return str(PurePath(ingest.ingest_path or "").with_name(names.marked(ingest.file_name, mark)))


def _retry_after(session: Session, strike: Strike) -> float | None:
    soonest = session.scalar(
        select(func.min(Ingest.retry_at)).where(Ingest.strike_id == strike.id, Ingest.is_cleared.is_(False))
    )
    return None if soonest is None else max(1.0, (soonest - utcnow()).total_seconds())


def _strays(session: Session, strike: Strike, kept: Sequence[str]) -> tuple[str, ...]:
    """Return which of the names in ``ingesting/`` belong to no ingest."""
    if not kept:
        return ()
    known = {
        PurePath(path).name
        for path in session.scalars(
            select(Ingest.ingest_path).where(
                Ingest.strike_id == strike.id,
                Ingest.is_cleared.is_(False),
                Ingest.ingest_path.is_not(None),
            )
        )
        if path and PurePath(path).parent.name == INGESTING
    }
    strays = tuple(name for name in kept if name not in known)
    if strays:
        log.warning("Strike process %s: %d files in ingesting/ belong to no ingest", strike.id, len(strays))
    return strays


def _moment(mtime_ns: int, now: datetime) -> datetime:
    """Return when a file was last modified, between 1970 and now whatever its time says."""
    try:
        moment = _EPOCH + timedelta(microseconds=max(0, mtime_ns) // 1000)
    except OverflowError:
        return now
    return min(moment, now)


def _plain(text: str | None) -> str | None:
    return text and text[:2000]
