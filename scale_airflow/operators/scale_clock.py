# SPDX-License-Identifier: Apache-2.0
"""The task of a clock rule's DAG: it tells the API server that the rule's time has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from scale_airflow.config import CONNECTION_ID

if TYPE_CHECKING:
    from airflow.sdk import Context


class ScaleClockOperator(BaseOperator):
    """Fires a clock trigger rule once a scheduled moment, however often it runs (spec: Clock Triggers).

    :param trigger_rule_id: the rule (``trigger_rule`` is Airflow's word for something else).
    :param scale_conn_id: the connection to the API server.
    """

    template_fields: ClassVar[Sequence[str]] = ()  # type: ignore[misc]
    ui_color = "#e7ecd9"

    def __init__(self, *, trigger_rule_id: int, scale_conn_id: str = CONNECTION_ID, **kwargs: Any):
        super().__init__(**kwargs)
        self.trigger_rule_id = trigger_rule_id
        self.scale_conn_id = scale_conn_id

    def execute(self, context: Context) -> None:
        """Report the scheduled moment.

        :raises ScaleApiError: if the API server refuses, or can't be reached.
        """
        from scale_airflow.hooks.scale import ScaleHook

        run = context["dag_run"]
        scheduled = run.data_interval_end or run.run_after
        client = ScaleHook(self.scale_conn_id).client
        answer = client.request(
            "POST",
            f"/runtime/clock/{self.trigger_rule_id}/fire/",
            body={"scheduled": scheduled.isoformat()},
        )
        self.log.info("%s", answer["message"])
