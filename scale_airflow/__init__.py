# SPDX-License-Identifier: Apache-2.0
"""Scale, the processing system for geospatial data, on Apache Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scale_airflow.compiler.dags import scale_recipe_dag

__version__ = "0.1.0"
__all__ = ["__version__", "get_provider_info", "scale_recipe_dag"]


def __getattr__(name: str) -> Any:
    # Airflow imports this module for every command: what pulls Airflow in comes only when asked for.
    if name == "scale_recipe_dag":
        from scale_airflow.compiler.dags import scale_recipe_dag

        return scale_recipe_dag
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_provider_info() -> dict[str, Any]:
    """Tell Airflow what this provider brings: hooks, configuration, commands, tables."""
    from scale_airflow.provider import provider_info

    return provider_info()
