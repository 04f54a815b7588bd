# SPDX-License-Identifier: Apache-2.0
"""The interfaces of job types, as the checks of recipe definitions ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.store.models import JobType

TypeName = tuple[str, str]
"""Name and version of a type."""


class Interfaces(Mapping[TypeName, JobInterface]):
    """The current interfaces of job types by name and version.

    Looking one up costs nothing beyond what was loaded; only a walk over all names, as the search for the
    nearest one needs it, asks the database again.

    :param wanted: the types that are looked up.
    :param lock: keep their interfaces from being changed until the end of the transaction.
    """

    def __init__(self, session: Session, wanted: Iterable[TypeName], *, lock: bool = False):
        self._session = session
        self.job_types = _load(session, set(wanted), lock)
        self._parsed: dict[TypeName, JobInterface] = {}
        self._names: list[TypeName] | None = None

    def replace(self, name: TypeName, interface: JobInterface) -> None:
        """Take another interface for a type than the stored one."""
        self._parsed[name] = interface

    def __getitem__(self, name: TypeName) -> JobInterface:
        if name not in self._parsed:
            self._parsed[name] = JobInterface.parse(self.job_types[name].interface)
        return self._parsed[name]

    def __contains__(self, name: object) -> bool:
        return name in self.job_types or name in self._parsed

    def __iter__(self) -> Iterator[TypeName]:
        return iter(self._all_names())

    def __len__(self) -> int:
        return len(self._all_names())

    def _all_names(self) -> list[TypeName]:
        if self._names is None:
            rows = self._session.execute(select(JobType.name, JobType.version).order_by(JobType.name))
            self._names = [(row.name, row.version) for row in rows]
        return self._names


def _load(session: Session, wanted: set[TypeName], lock: bool) -> dict[TypeName, JobType]:
    if not wanted:
        return {}
    # In the order of their ids, so that two transactions never wait for each other's.
    query = (
        select(JobType).where(tuple_(JobType.name, JobType.version).in_(sorted(wanted))).order_by(JobType.id)
    )
    if lock:
        query = query.with_for_update(read=True, of=JobType).execution_options(populate_existing=True)
    return {(found.name, found.version): found for found in session.scalars(query)}
