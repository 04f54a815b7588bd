# SPDX-License-Identifier: Apache-2.0
"""The task that has the API server work out the metrics of each day that is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from scale_airflow.config import CONNECTION_ID

if TYPE_CHECKING:
    from airflow.sdk import Context

_LONGEST_WAIT = 60.0


class ScaleMetricsOperator(BaseOperator):
    """Has the queued scale-daily-metrics jobs done, a day and a transaction of the API server at a time.

    :param trigger_rule_id: the clock rule whose jobs these are.
    :param scale_conn_id: the connection to the API server.
    """

    template_fields: ClassVar[Sequence[str]] = ()  # type: ignore[misc]
    ui_color = "#e7ecd9"

    def __init__(self, *, trigger_rule_id: int, scale_conn_id: str = CONNECTION_ID, **kwargs: Any):
        super().__init__(**kwargs)
        self.trigger_rule_id = trigger_rule_id
        self.scale_conn_id = scale_conn_id

    def execute(self, context: Context) -> None:
        """Ask for day after day until none is left.

        :raises AirflowException: if days are to be tried once more, by the task's next try.
        :raises AirflowFailException: if days failed as often as they may, until the rule's next run.
        :raises ScaleApiError: if the API server refuses, or can't be reached.
        """
        from scale_airflow.hooks.scale import ScaleHook
        from scale_airflow.sensors.strike import identity

        client = ScaleHook(self.scale_conn_id).client
        path, body = f"/runtime/clock/{self.trigger_rule_id}/metrics/", identity(context).to_dict()
        while True:
            answer = client.request("POST", path, body=body, repeatable=True)
            if answer["day"] is not None:
                self.log.info("%s", answer["message"])
            elif answer["wait"]:
                # Right after midnight: what ended just before it is being committed.
                self.log.info("The next day can be worked out in %.0f seconds", answer["wait"])
                time.sleep(min(float(answer["wait"]), _LONGEST_WAIT))
            else:
                break
        if answer["is_again"]:
            raise AirflowException("Some days are tried once more.")
        if answer["failed"]:
            raise AirflowFailException(
                f"The metrics of these days are missing: {', '.join(answer['failed'])}"
            )
