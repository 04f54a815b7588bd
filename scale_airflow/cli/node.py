# SPDX-License-Identifier: Apache-2.0
"""``airflow scale node``: the agent of a worker's host, in the foreground."""

from __future__ import annotations

import os
from typing import Any

from scale_airflow.cli.session import logging_action


@logging_action
def node_command(args: Any) -> None:
    """Run the node agent until SIGTERM or Ctrl-C."""
    from scale_airflow.execution.agent import run_agent

    # As in Airflow's own commands about connections: look for scale_default in the metadata database too,
    # where this host has one. On others it comes from AIRFLOW_CONN_SCALE_DEFAULT or a secrets backend.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    run_agent(agent_id=args.agent_id, hostname=args.hostname)
