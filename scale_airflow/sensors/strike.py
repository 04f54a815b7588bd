# SPDX-License-Identifier: Apache-2.0
"""StrikeSensor: waits for files in the directory of a Strike process, and records them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from scale_airflow import crash_points
from scale_airflow.config import CONNECTION_ID, Settings, settings
from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.ingest.messages import TaskIdentity
from scale_airflow.execution.ingest.watch import Look, digest_of, look
from scale_airflow.hooks.scale import ScaleHook
from scale_airflow.hooks.strike_client import StrikeClient
from scale_airflow.triggers.strike import StrikeTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

_IDLE = timedelta(seconds=60)


class StrikeSensor(BaseOperator):
    """Succeeds when files of a Strike process wait to be ingested.

    It looks at the directory once: every file is recorded by the API server, then moved out of the way, and
    only then forgotten. While nothing is due it defers to a trigger, which costs no worker slot.

    :param strike_id: the Strike process.
    :param scale_conn_id: connection to the API server.
    """

    ui_color = "#d6e9f2"

    def __init__(self, *, strike_id: int, scale_conn_id: str = CONNECTION_ID, **kwargs: Any):
        kwargs.setdefault("retry_delay", timedelta(seconds=30))
        super().__init__(**kwargs)
        self.strike_id = strike_id
        self.scale_conn_id = scale_conn_id

    def execute(self, context: Context) -> Any:
        """Look at the directory; defer while nothing is due.

        :raises WorkspaceError: if the directory can't be used.
        :raises ScaleApiError: if the server can't be reached or refuses.
        """
        return self._look(context, None)

    def resume(self, context: Context, event: Any = None) -> Any:
        """Look again: the trigger only wakes up, what it saw is not trusted."""
        self.log.info("Looking again: %s", event)
        return self._look(context, event.get("digest") if isinstance(event, dict) else None)

    def _look(self, context: Context, left: str | None) -> Any:
        """Look once.

        :param left: what the last look left, if a trigger has seen something else since.
        """
        current = settings()
        server = StrikeClient(ScaleHook(self.scale_conn_id).client, self.strike_id)
        try:
            crash_points.reach("sensor.look.before")
            found = look(server, identity(context), current)
            crash_points.reach("sensor.look.after")
        except ScaleApiError as error:
            if error.status != 404:
                raise
            # Its creation was rolled back, or it was made in another database: there is nothing to watch.
            self.log.error("%s. If it is gone for good, delete this DAG.", error)
            found = Look(None, "", "", digest_of((), ""), 0, None, False)
        if found.due:
            self.log.info("%d files wait to be ingested from %s", found.due, found.directory)
            return found.due
        # A triggerer that sees another directory than this worker must not wake it up all the time.
        is_needless = left is not None and left == found.digest and found.is_active
        self._wait(found, current, delay=3 * current.strike_sweep_interval if is_needless else 0.0)

    def _wait(self, found: Look, current: Settings, *, delay: float) -> NoReturn:
        if found.is_active:
            self.log.info("Watching %s", found.directory)
        else:
            self.log.info("The Strike process is not active; waiting until it is switched on")
        self.defer(
            trigger=StrikeTrigger(
                strike_id=self.strike_id,
                directory=str(found.directory) if found.directory else None,
                transfer_suffix=found.transfer_suffix,
                digest=found.digest,
                version=found.version,
                interval=current.strike_sweep_interval,
                retry_after=found.retry_after if found.is_active else _IDLE.total_seconds(),
                delay=delay,
                scale_conn_id=self.scale_conn_id,
            ),
            method_name="resume",
        )


def identity(context: Context) -> TaskIdentity:
    """Return which try of which task runs here."""
    ti: Any = context["ti"]
    return TaskIdentity(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        task_instance_id=str(ti.id),
        hostname=str(getattr(ti, "hostname", "") or ""),
    )
