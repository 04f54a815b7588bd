# SPDX-License-Identifier: Apache-2.0
"""What may run, and cost money, on other systems."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from scale_airflow.store.base import Base, Created, LongText, Moment, OptionalText, reference


class RemoteJob(Base):
    """An execution that may have a job on another system; it stays until it is certain that none runs there.

    ``connection`` is the Airflow connection to that system, ``marker`` what the job there is found by:
    random, since several installations may share an account. Once the execution is over somebody looks for
    the job at ``not_before``; ``tries`` counts how often that failed, ``message`` says why.
    """

    __tablename__ = "scale_remote_job"

    job_exe_id: Mapped[int] = mapped_column(
        BigInteger, reference("scale_job_execution"), primary_key=True, autoincrement=False
    )
    connection: Mapped[LongText]
    marker: Mapped[str] = mapped_column(Text, unique=True)
    not_before: Mapped[Moment]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    message: Mapped[OptionalText]
    created: Mapped[Created]
