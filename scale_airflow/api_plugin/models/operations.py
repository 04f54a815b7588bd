# SPDX-License-Identifier: Apache-2.0
"""What the OpenAPI document says of each operation by its name: its answer, and examples."""

from __future__ import annotations

from typing import Any

from scale_airflow.api_plugin.models import files, measures, nodes, types, work
from scale_airflow.api_plugin.models.kinds import Model, page

ANSWERS: dict[str, Model] = {
    "errors_list_errors": page(types.ERROR),
    "errors_create_error": types.ERROR,
    "errors_get_error": types.ERROR,
    "errors_edit_error": types.ERROR,
    "workspaces_list_workspaces": page(types.WORKSPACE),
    "workspaces_create_workspace": types.WORKSPACE_DETAILS,
    "workspaces_validate_workspace": types.WARNINGS,
    "workspaces_get_workspace": types.WORKSPACE_DETAILS,
    "workspaces_edit_workspace": types.WORKSPACE_DETAILS,
    "job_types_list_job_types": page(types.JOB_TYPE),
    "job_types_create_job_type": types.JOB_TYPE_DETAILS,
    "job_types_validate_job_type": types.WARNINGS,
    "job_types_list_status": page(types.TYPE_STATUS),
    "job_types_list_running": page(types.RUNNING_TYPE),
    "job_types_list_system_failures": page(types.SYSTEM_FAILURE),
    "job_types_get_job_type": types.JOB_TYPE_DETAILS,
    "job_types_edit_job_type": types.JOB_TYPE_DETAILS,
    "job_types_list_revisions": page(types.JOB_TYPE_REVISION),
    "recipe_types_list_recipe_types": page(types.RECIPE_TYPE),
    "recipe_types_create_recipe_type": types.RECIPE_TYPE_DETAILS,
    "recipe_types_validate_recipe_type": types.WARNINGS,
    "recipe_types_get_recipe_type": types.RECIPE_TYPE_DETAILS,
    "recipe_types_edit_recipe_type": types.RECIPE_TYPE_DETAILS,
    "recipe_types_list_revisions": page(types.RECIPE_TYPE_REVISION),
    "configuration_export_configuration": types.EXPORT,
    "configuration_import_configuration": types.WARNINGS,
    "configuration_download_configuration": types.EXPORT,
    "configuration_validate_import": types.WARNINGS,
    "configuration_upload_configuration": types.WARNINGS,
    "strikes_create": measures.STRIKE_CREATED,
    "ingests_list_ingests": page(measures.INGEST),
    "ingests_list_status": page(measures.INGEST_STATUS),
    "ingests_get_ingest": measures.INGEST_DETAILS,
    "sources_list_sources": page(files.SOURCE),
    "sources_list_source_updates": page(files.SOURCE_UPDATE),
    "products_list_products": page(files.PRODUCT_IN_LIST),
    "products_list_product_updates": page(files.PRODUCT_UPDATE),
    "files_get_file": files.ANY_FILE,
    "queue_get_queue_status": nodes.QUEUE_STATUS,
    "queue_queue_new_job": work.JOB_DETAILS,
    "queue_queue_new_recipe": work.RECIPE_DETAILS,
    "queue_requeue_jobs": page(work.JOB),
    "queue_requeue_job": work.JOB_DETAILS,
    "load_list_load": page(measures.LOAD),
    "jobs_list_jobs": page(work.JOB),
    "jobs_list_updates": page(work.JOB_UPDATE),
    "jobs_list_with_executions": page(work.JOB_WITH_EXECUTION),
    "jobs_cancel_jobs": page(work.JOB),
    "jobs_get_job": work.JOB_DETAILS,
    "jobs_edit_job": work.JOB_DETAILS,
    "job_executions_list_executions": page(work.EXECUTION),
    "job_executions_get_execution": work.EXECUTION_DETAILS,
    "job_executions_get_logs": work.LOGS,
    "recipes_list_recipes": page(work.RECIPE),
    "recipes_get_recipe": work.RECIPE_DETAILS,
    "metrics_list_metrics": page(measures.METRICS_TYPE),
    "metrics_get_metrics": measures.METRICS_DETAILS,
    "metrics_list_plot_data": page(measures.PLOT_DATA),
    "nodes_list_nodes": page(nodes.NODE),
    "nodes_list_status": page(work.NODE_STATUS),
    "nodes_get_node": work.NODE_DETAILS,
    "nodes_replace_node": work.NODE_DETAILS,
    "nodes_edit_node": work.NODE_DETAILS,
    "scheduler_get_scheduler": nodes.SCHEDULER,
    "scheduler_edit_scheduler": nodes.SCHEDULER,
    "status_get_status": nodes.STATUS,
    "version_get_version": nodes.VERSION,
}
"""Every operation that answers in JSON; a test misses those that are not here."""

PLAIN: dict[str, str] = {
    "files_get_content": "application/octet-stream",
    "job_executions_get_log": "text/plain",
}
"""Operations that answer something else, with its media type."""

BODIES: dict[str, Any] = {
    "errors_edit_error": {"title": "Bad data", "description": "The data are damaged."},
    "workspaces_edit_workspace": {"title": "Raw data", "is_active": True},
    "job_types_edit_job_type": {"is_paused": True, "priority": 5},
    "recipe_types_edit_recipe_type": {"trigger_rule": {"is_active": False}},
    "nodes_replace_node": {"hostname": "host.com", "port": 5051, "is_paused": False},
    "nodes_edit_node": {"is_paused": True, "pause_reason": "A new disk"},
    "jobs_cancel_jobs": {"job_ids": [1, 2]},
    "queue_requeue_jobs": {"status": "FAILED", "started": "PT3H0M0S", "priority": 5},
    "strikes_create": {
        "name": "my-strike",
        "title": "My Strike",
        "configuration": {
            "version": "1.0",
            "mount": "host:/my/path",
            "transfer_suffix": "_tmp",
            "files_to_ingest": [
                {"filename_regex": ".*txt", "workspace_path": "my/path", "workspace_name": "rs"}
            ],
        },
    },
}
"""Examples of bodies, where those of the fields together are none."""

PARAMETERS: dict[str, Any] = {
    "order": ["-last_modified"],
    "page": 1,
    "page_size": 100,
    "started": "PT3H0M0S",
    "ended": "2015-01-01T00:00:00Z",
    "since": "PT1M",
    "name": "job-types",
    "job_type_name": ["my-job"],
    "recipe_type_name": ["my-recipe"],
    "error_name": ["bad-data"],
    "category": ["imagery"],
    "job_type_category": ["imagery"],
    "column": ["completed_count"],
    "group": ["overview"],
    "file_name": "scene.png",
    "include": ["job_types"],
    "stream": "stdout",
    "type_name": ["my-recipe"],
}
"""Examples of parameters by their names."""
