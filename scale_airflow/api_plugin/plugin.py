# SPDX-License-Identifier: Apache-2.0
"""What Airflow finds by the entry point ``airflow.plugins``: the REST API and the timetable of clock rules.

Every process of Airflow loads its plugins, each task's as well. So this module imports nothing heavy: the
application is built when the API server asks for it, the timetable when the scheduler does.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class ScalePlugin(AirflowPlugin):
    """Mounts Scale's REST API at ``/scale`` of Airflow's API server."""

    name = "scale"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The application and where it is mounted."""
        from scale_airflow.api_plugin.app import create_app

        return [{"app": create_app(), "url_prefix": "/scale", "name": "Scale API"}]

    @cached_property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """What loads the modules of tasks in the processes that tasks are forks of."""
        from scale_airflow.engine import preloading

        return [preloading]

    @cached_property
    def timetables(self) -> list[type[Any]]:  # type: ignore[override]
        """The timetable of clock rules, which the scheduler finds by its name in serialized DAGs."""
        from scale_airflow.timetables.clock import ScaleClockTimetable

        return [ScaleClockTimetable]
