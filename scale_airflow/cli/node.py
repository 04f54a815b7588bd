# SPDX-License-Identifier: Apache-2.0
"""``airflow scale node``: the agent of a worker's host, in the foreground."""

from __future__ import annotations

from typing import Any

from scale_airflow.cli.session import logging_action


@logging_action
def node_command(args: Any) -> None:
    """Run the node agent until SIGTERM or Ctrl-C."""
    from scale_airflow.execution.agent import run_agent

    run_agent(agent_id=args.agent_id, hostname=args.hostname)
