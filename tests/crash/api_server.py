# SPDX-License-Identifier: Apache-2.0
"""Airflow's API server on gunicorn, loaded altogether before its processes are forked.

The routes of Airflow's API for tasks are worked out at the first request of each process, which takes seconds
in which it answers nobody. Here that happens once, so that a process that was killed is replaced at once.
"""

from __future__ import annotations

import sys
from typing import Any


def serve() -> None:
    """Do what ``airflow api-server`` does."""
    from airflow.__main__ import main
    from airflow.api_fastapi.gunicorn_app import AirflowGunicornApp
    from cadwyn import Cadwyn

    only_load = AirflowGunicornApp.load

    def load(self: AirflowGunicornApp) -> Any:
        application = only_load(self)
        for route in application.routes:
            mounted = getattr(route, "app", None)
            if isinstance(mounted, Cadwyn) and not mounted._cadwyn_initialized:
                mounted._cadwyn_initialize()
        return application

    AirflowGunicornApp.load = load  # type: ignore[method-assign]
    sys.argv = ["airflow", "api-server"]
    main()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are none of Airflow's
    serve()
