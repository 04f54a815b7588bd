# SPDX-License-Identifier: Apache-2.0
"""Makes a job type and a workspace, in a process of the installation that is measured; prints their ids.

The job type is paused: jobs of it are queued, and wait.
"""

from __future__ import annotations

import json
import sys

from scale_airflow.services.job_types import create_job_type
from scale_airflow.services.workspaces import create_workspace
from scale_airflow.store.session import transaction


def main() -> None:
    """Make them as the REST API does."""
    interface = {
        "version": "1.0",
        "command": "true",
        "command_arguments": "",
        "input_data": [],
        "output_data": [],
    }
    document = {
        "name": "measured",
        "version": "1.0.0",
        "title": "Measured",
        "description": "What the benchmark of the REST API queues",
        "category": "benchmark",
        "is_paused": True,
        "docker_image": "none",
        "interface": interface,
    }
    place = {"version": "1.0", "broker": {"type": "host", "path": sys.argv[1]}}
    with transaction() as session:
        job_type, _ = create_job_type(session, document)
        workspace, _ = create_workspace(session, {"name": "files", "json_config": place})
        session.flush()
        made = {"job_type_id": job_type.id, "workspace_id": workspace.id}
    print(json.dumps(made))


if __name__ == "__main__":
    main()
