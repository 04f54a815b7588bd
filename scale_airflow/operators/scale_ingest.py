# SPDX-License-Identifier: Apache-2.0
"""ScaleIngestOperator: brings the files that a Strike process saw into their workspaces."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from scale_airflow.config import CONNECTION_ID, settings
from scale_airflow.errors import WorkspaceError
from scale_airflow.execution.ingest.batch import ingest_all
from scale_airflow.hooks.scale import ScaleHook
from scale_airflow.hooks.strike_client import StrikeClient
from scale_airflow.sensors.strike import identity

if TYPE_CHECKING:
    from airflow.sdk import Context


class ScaleIngestOperator(BaseOperator):
    """Ingests files of a Strike process, in batches, until none is due.

    :param strike_id: the Strike process.
    :param scale_conn_id: connection to the API server.
    """

    ui_color = "#d7f2d6"

    def __init__(self, *, strike_id: int, scale_conn_id: str = CONNECTION_ID, **kwargs: Any):
        kwargs.setdefault("retry_delay", timedelta(seconds=30))
        super().__init__(**kwargs)
        self.strike_id = strike_id
        self.scale_conn_id = scale_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Ingest what is due; return how many files ended how.

        :raises WorkspaceError: if the Strike directory or a workspace can't be used; files wait for it.
        :raises ScaleApiError: if the server can't be reached, or another try took over.
        """
        server = StrikeClient(ScaleHook(self.scale_conn_id).client, self.strike_id)
        summary = ingest_all(server, identity(context), settings())
        counts = {
            "ingested": summary.ingested,
            "duplicates": summary.duplicates,
            "errored": summary.errored,
            "postponed": summary.postponed,
        }
        self.log.info("Ingest is through: %s", counts)
        if summary.problem is not None:
            raise WorkspaceError(summary.problem)
        return counts
