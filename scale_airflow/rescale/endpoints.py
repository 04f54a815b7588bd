# SPDX-License-Identifier: Apache-2.0
"""Every endpoint of Rescale's API (v2) as a function that returns a call; the clients send calls.

Users, hardware and analyses are here, jobs in ``endpoints_jobs``, runs in ``endpoints_runs``, files in
``endpoints_files``, storage devices in ``endpoints_storage``; all of them can be had from here.

Not here, since nobody describes them: the downloads of a storage device, tasks (``/tasks/{token}/``),
clusters (``/clusters/{id}``), and version 3 of the API.
"""

from __future__ import annotations

from typing import Any

from scale_airflow.rescale.calls import Call, Scope, path_of
from scale_airflow.rescale.endpoints_files import (
    delete_file,
    get_file,
    get_file_contents,
    get_file_lines,
    list_files,
    update_file,
)
from scale_airflow.rescale.endpoints_jobs import (
    add_tag,
    assign_project,
    attach_storage_device,
    create_job,
    delete_job,
    delete_tag,
    force_stop_job,
    get_connection_details,
    get_job,
    get_load_measurements,
    list_cluster_statuses,
    list_instances,
    list_job_files,
    list_jobs,
    list_statuses,
    list_tags,
    set_custom_fields,
    share_job,
    stop_job,
    submit_job,
    update_job,
)
from scale_airflow.rescale.endpoints_runs import (
    get_run,
    list_directory,
    list_run_files,
    list_runs,
    snapshot_run,
    stop_run,
    tail,
    tail_bytes,
)
from scale_airflow.rescale.endpoints_storage import (
    create_storage_device,
    get_storage_device,
    list_regions,
    list_storage_device_statuses,
    list_storage_devices,
    shutdown_storage_device,
    submit_storage_device,
)
from scale_airflow.rescale.models import Analysis, ComputePrice, CoreType, Project, User
from scale_airflow.rescale.paging import PagedCall

__all__ = [
    "add_tag",
    "assign_project",
    "attach_storage_device",
    "create_job",
    "create_storage_device",
    "delete_file",
    "delete_job",
    "delete_tag",
    "force_stop_job",
    "get_billing",
    "get_connection_details",
    "get_file",
    "get_file_contents",
    "get_file_lines",
    "get_job",
    "get_load_measurements",
    "get_me",
    "get_run",
    "get_storage_device",
    "get_workspace_custom_fields",
    "list_analyses",
    "list_cluster_statuses",
    "list_core_types",
    "list_directory",
    "list_files",
    "list_instances",
    "list_job_files",
    "list_jobs",
    "list_prices",
    "list_projects",
    "list_regions",
    "list_run_files",
    "list_runs",
    "list_statuses",
    "list_storage_device_statuses",
    "list_storage_devices",
    "list_tags",
    "set_custom_fields",
    "share_job",
    "shutdown_storage_device",
    "snapshot_run",
    "stop_job",
    "stop_run",
    "submit_job",
    "submit_storage_device",
    "tail",
    "tail_bytes",
    "update_file",
    "update_job",
]


def get_me() -> Call[User]:
    """Tell whose key this is. The cheapest test of a connection."""
    return Call("GET", path_of("users", "me"), User.from_document)


def list_projects() -> PagedCall[Project]:
    """List the projects of the key's user. Rescale API: list projects available to your user."""
    return PagedCall(path_of("users", "me", "projects"), Project.from_document)


def list_core_types(*, active_only: bool = True) -> PagedCall[CoreType]:
    """List the kinds of hardware, with prices. Rescale API: core types.

    :param active_only: leave out those that can't be had any more.
    """
    query = {"isActive": "true"} if active_only else {}
    return PagedCall(path_of("coretypes"), CoreType.from_document, query=query)


def list_prices() -> PagedCall[ComputePrice]:
    """List the prices of hardware. Rescale API: list all compute prices."""
    return PagedCall(
        path_of("billing", "computeprices"), ComputePrice.from_document, scope=Scope.BILLING, page_size=None
    )


def list_analyses() -> PagedCall[Analysis]:
    """List the software that jobs can run. Rescale API: analyses.

    There are hundreds, with thousands of versions: smaller pages than those of other lists.
    """
    return PagedCall(path_of("analyses"), Analysis.from_document, page_size=100)


def get_billing(organization: str, workspace: str) -> Call[Any]:
    """Return what a workspace was billed, as Rescale tells it: afterwards."""
    path = path_of("organizations", organization, "workspaces", workspace, "billing")
    return Call("GET", path, _as_it_is, scope=Scope.BILLING)


def get_workspace_custom_fields(organization: str, workspace: str) -> Call[Any]:
    """Return the custom fields that a workspace's jobs may or must have, as Rescale tells them."""
    path = path_of("organizations", organization, "workspaces", workspace, "custom-fields")
    return Call("GET", path, _as_it_is)


def _as_it_is(document: Any) -> Any:
    return document
