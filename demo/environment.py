# SPDX-License-Identifier: Apache-2.0
"""The configuration of a demonstration's Airflow, as environment variables."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.processes import MARKER

BUNDLES = [
    {"name": "scale", "classpath": "scale_airflow.compiler.bundle.ScaleDagBundle", "kwargs": {}},
]


def airflow_environment(
    folder: Path,
    *,
    url: str,
    database_url: str,
    dags_folder: Path,
    scale: Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of every Airflow process of one instance, without the caller's Airflow.

    :param folder: the instance's folder.
    :param url: base URL of the API server, with its port.
    :param dags_folder: a folder of users' DAG files, beside the generated ones.
    :param scale: options of the section ``[scale]``.
    """
    port = url.rsplit(":", 1)[1]
    options: dict[str, dict[str, object]] = {
        "core": {
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "dags_folder": dags_folder,
            "execution_api_server_url": f"{url}/execution/",
            "executor": "LocalExecutor",
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "load_examples": False,
            # A second edit of a type within this many seconds would be dropped.
            "min_serialized_dag_update_interval": 0,
            "parallelism": 16,
        },
        "database": {"sql_alchemy_conn": database_url},
        "api": {
            "base_url": url,
            "host": "127.0.0.1",
            "port": port,
            "secret_key": secrets.token_hex(32),
            "workers": 1,
        },
        "api_auth": {"jwt_secret": secrets.token_hex(64)},
        "scheduler": {
            "enable_health_check": False,
            "max_dagruns_per_loop_to_schedule": 200,
            "max_dagruns_to_create_per_loop": 100,
            "scheduler_idle_sleep_time": 0.1,
        },
        # An API server that is away for a minute must not cost running jobs.
        "workers": {"max_failed_heartbeats": 60},
        "dag_processor": {
            "bundle_refresh_check_interval": 2,
            "dag_bundle_config_list": json.dumps([*BUNDLES, _local_bundle(dags_folder)]),
            "min_file_process_interval": 60,
            "parsing_processes": 1,
            "refresh_interval": 5,
        },
        "logging": {"base_log_folder": folder / "airflow" / "logs", "logging_level": "INFO"},
        "usage_data_collection": {"enabled": False},
        "scale": dict(scale),
    }
    environment = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, values in options.items()
        for name, value in values.items()
    }
    return {
        **_callers_environment(),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        MARKER: str(folder),
        **environment,
    }


def _local_bundle(folder: Path) -> dict[str, object]:
    return {
        "name": "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }


def _callers_environment() -> dict[str, str]:
    """Return what a process needs of the caller's environment: never its Airflow, its Python or its make."""
    foreign = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS", "COV_", "PYTEST")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
