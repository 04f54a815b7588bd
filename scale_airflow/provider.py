# SPDX-License-Identifier: Apache-2.0
"""The provider information that Airflow reads through the ``apache_airflow_provider`` entry point."""

from __future__ import annotations

from typing import Any

from scale_airflow import __version__
from scale_airflow.config import OPTIONS
from scale_airflow.hooks.rescale_form import connection_type


def provider_info() -> dict[str, Any]:
    """Return the provider's description in Airflow's form."""
    return {
        "package-name": "scale-airflow",
        "name": "Scale",
        "description": "Scale's job types, recipes, Strike ingest, products and REST API on Apache Airflow.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "Scale", "external-doc-url": "", "tags": ["service"]},
            {
                "integration-name": "Rescale",
                "external-doc-url": "https://engineering.rescale.com/api-docs/",
                "tags": ["service"],
            },
        ],
        "operators": [
            {
                "integration-name": "Scale",
                "python-modules": [
                    "scale_airflow.operators.scale_clock",
                    "scale_airflow.operators.scale_ingest",
                    "scale_airflow.operators.scale_job",
                    "scale_airflow.operators.scale_metrics",
                ],
            },
            {
                "integration-name": "Rescale",
                "python-modules": [
                    "scale_airflow.operators.rescale",
                    "scale_airflow.operators.rescale_arguments",
                    "scale_airflow.operators.rescale_cluster",
                    "scale_airflow.operators.rescale_decorator",
                    "scale_airflow.operators.rescale_files",
                    "scale_airflow.operators.rescale_jobs",
                    "scale_airflow.operators.rescale_start",
                    "scale_airflow.operators.rescale_storage",
                    "scale_airflow.operators.rescale_templates",
                    "scale_airflow.operators.rescale_wait",
                ],
            },
        ],
        "sensors": [
            {
                "integration-name": "Scale",
                "python-modules": [
                    "scale_airflow.sensors.strike",
                ],
            },
            {
                "integration-name": "Rescale",
                "python-modules": [
                    "scale_airflow.sensors.rescale",
                ],
            },
        ],
        "triggers": [
            {
                "integration-name": "Scale",
                "python-modules": [
                    "scale_airflow.triggers.capacity",
                    "scale_airflow.triggers.strike",
                ],
            },
            {
                "integration-name": "Rescale",
                "python-modules": [
                    "scale_airflow.triggers.rescale",
                    "scale_airflow.triggers.rescale_command",
                    "scale_airflow.triggers.rescale_waits",
                ],
            },
        ],
        "task-decorators": [
            {"class-name": "scale_airflow.operators.rescale_decorator.rescale_task", "name": "rescale"}
        ],
        "hooks": [
            {
                "integration-name": "Scale",
                "python-modules": [
                    "scale_airflow.hooks.scale",
                ],
            },
            {
                "integration-name": "Rescale",
                "python-modules": [
                    "scale_airflow.hooks.rescale",
                    "scale_airflow.hooks.rescale_cluster",
                ],
            },
        ],
        "connection-types": [
            {"connection-type": "scale", "hook-class-name": "scale_airflow.hooks.scale.ScaleHook"},
            connection_type(),
        ],
        "cli": [
            "scale_airflow.cli.commands.get_commands",
            "scale_airflow.cli.rescale_commands.get_commands",
        ],
        "db-managers": ["scale_airflow.store.manager.ScaleDBManager"],
        "config": {
            "scale": {
                "description": "Scale on Airflow.",
                "options": {
                    name: {
                        "description": option.description,
                        "version_added": "0.1.0",
                        "type": option.type,
                        "example": option.example,
                        "default": option.default,
                        "sensitive": option.sensitive,
                    }
                    for name, option in OPTIONS.items()
                },
            }
        },
    }
