# SPDX-License-Identifier: Apache-2.0
"""The record of an execution's surroundings, as ``/job-executions/{id}/`` shows it."""

from __future__ import annotations

import re
from typing import Any

from scale_airflow.execution.order import ExecutionOrder

MASKED = "***"
_SECRET = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)


def describe_environment(order: ExecutionOrder) -> dict[str, Any]:
    """Return the environment's record; values of variables whose names sound secret are masked."""
    variables = order.configuration.get("env_vars")
    return {
        "version": "1.0",
        "image": order.image,
        "backend": order.backend,
        "env_vars": {
            name: MASKED if _SECRET.search(name) else str(value)
            for name, value in (variables.items() if isinstance(variables, dict) else ())
        },
        "limits": {
            "cpus": order.cpus,
            "mem_mib": order.mem_mib,
            "disk_mib": order.disk_mib,
            "timeout": order.timeout,
        },
    }
