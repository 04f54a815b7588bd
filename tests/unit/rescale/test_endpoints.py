# SPDX-License-Identifier: Apache-2.0
"""Every endpoint's request: method, path, parameters, body, rate scope, and whether it may be repeated."""

from __future__ import annotations

from typing import Any

import pytest
from unit.rescale.faces import Face
from unit.rescale.scripted import Raw, Server, answer

from scale_airflow.errors import InvalidRequest
from scale_airflow.rescale import PagedCall, Repeat, Scope, endpoints
from scale_airflow.rescale import __all__ as public_names
from scale_airflow.rescale.endpoints import __all__ as endpoint_names

J, U, F, B = Scope.JOBS_USAGE, Scope.USER, Scope.FILE_ACCESS, Scope.BILLING
SIZE = "?page_size=1000"
# What is asked → the request; its scope; whether it may be repeated blindly.
CALLS: list[tuple[Any, str, Scope, bool]] = [
    (endpoints.get_me(), "GET users/me/", U, True),
    (endpoints.list_projects(), f"GET users/me/projects/{SIZE}", U, True),
    (endpoints.list_core_types(), "GET coretypes/?isActive=true&page_size=1000", U, True),
    (endpoints.list_core_types(active_only=False), f"GET coretypes/{SIZE}", U, True),
    (endpoints.list_prices(), "GET billing/computeprices/", B, True),
    (endpoints.list_analyses(), "GET analyses/?page_size=100", U, True),
    (
        endpoints.list_jobs(state="completed", job_status="COMPLETED", t="active"),
        "GET jobs/?state=completed&job_status=COMPLETED&ordering=-dateInserted&t=active&page_size=100",
        J,
        True,
    ),
    (endpoints.list_jobs(ordering=None, page_size=10), "GET jobs/?page_size=10", J, True),
    (endpoints.create_job({"name": "x"}), "POST jobs/", J, False),
    (endpoints.get_job("J"), "GET jobs/J/", J, True),
    (endpoints.update_job("J", {"name": "x"}), "PATCH jobs/J/", J, True),
    (endpoints.delete_job("J"), "DELETE jobs/J/", J, True),
    (endpoints.delete_job("J", delete_input_files=True), "DELETE jobs/J/?deleteInputFiles=True", J, True),
    (endpoints.submit_job("J"), "POST jobs/J/submit/", Scope.JOB_SUBMISSION, False),
    (endpoints.stop_job("J"), "POST jobs/J/stop/", J, True),
    (endpoints.force_stop_job("J"), "POST jobs/J/force_stop/", J, True),
    (endpoints.list_statuses("J"), f"GET jobs/J/statuses/{SIZE}", J, True),
    (endpoints.list_cluster_statuses("J"), f"GET jobs/J/cluster_statuses/{SIZE}", J, True),
    (endpoints.list_job_files("J", search="out"), "GET jobs/J/files/?search=out&page_size=1000", J, True),
    (endpoints.list_runs("J"), f"GET jobs/J/runs/{SIZE}", J, True),
    (endpoints.get_run("J", "1"), "GET jobs/J/runs/1/", J, True),
    (endpoints.stop_run("J", "1"), "POST jobs/J/runs/1/stop/", J, True),
    (endpoints.snapshot_run("J", "1"), "POST jobs/J/runs/1/snapshot/", J, False),
    (endpoints.list_run_files("J", "1"), f"GET jobs/J/runs/1/files/{SIZE}", J, True),
    (endpoints.list_directory("J", "1"), "GET jobs/J/runs/1/directory-contents/?page_size=9999", J, True),
    (
        endpoints.tail("J", "1", "a b/process_output.log", lines=9),
        "GET jobs/J/runs/1/tail/a%20b/process_output.log?lines=9",
        J,
        True,
    ),
    (endpoints.tail_bytes("J", "1", "x"), "GET jobs/J/runs/1/tail/x", J, True),
    (endpoints.list_instances("J"), f"GET jobs/J/instances/{SIZE}", J, True),
    (endpoints.get_connection_details("J"), "GET jobs/J/connection_details/", J, True),
    (endpoints.get_load_measurements("J", hours=2), "GET jobs/J/cluster-load-measurements/?hours=2", J, True),
    (endpoints.share_job("J", "a@b", "hi"), "POST jobs/J/share/", J, False),
    (endpoints.attach_storage_device("J", "D"), "POST jobs/J/storage-devices/", J, True),
    (endpoints.list_tags("J"), f"GET jobs/J/tags/{SIZE}", J, True),
    (endpoints.add_tag("J", "t"), "POST jobs/J/tags/", J, True),
    (endpoints.delete_tag("J", "t"), "DELETE jobs/J/tags/", J, True),
    (endpoints.set_custom_fields("J", {"a": 1}), "POST jobs/J/custom-fields/", J, True),
    (endpoints.assign_project("O", "J", "P"), "POST organizations/O/jobs/J/project-assignment/", U, True),
    (endpoints.get_billing("O", "W"), "GET organizations/O/workspaces/W/billing/", B, True),
    (
        endpoints.get_workspace_custom_fields("O", "W"),
        "GET organizations/O/workspaces/W/custom-fields/",
        U,
        True,
    ),
    (
        endpoints.list_files(search="x"),
        "GET files/?search=x&ordering=-dateUploaded&page_size=1000",
        U,
        True,
    ),
    (endpoints.get_file("F"), "GET files/F/", U, True),
    (endpoints.update_file("F", {"typeId": 2}), "PATCH files/F/", U, True),
    (endpoints.delete_file("F"), "DELETE files/F/", U, True),
    (endpoints.get_file_lines("F"), "GET files/F/lines/", F, True),
    (endpoints.get_file_contents("F"), "GET files/F/contents/", F, True),
    (endpoints.create_storage_device({"name": "d"}), "POST storage-devices/", U, False),
    (endpoints.list_storage_devices(), f"GET storage-devices/{SIZE}", U, True),
    (endpoints.get_storage_device("D"), "GET storage-devices/D/", U, True),
    (endpoints.list_regions(), "GET storage-devices/available-regions/", U, True),
    (endpoints.submit_storage_device("D"), "POST storage-devices/D/submit/", U, False),
    (endpoints.shutdown_storage_device("D"), "POST storage-devices/D/shutdown/", U, True),
    (endpoints.list_storage_device_statuses("D"), f"GET storage-devices/D/statuses/{SIZE}", U, True),
]
ANSWERS: dict[str, Any] = {
    "GET users/me/": {"email": "a"},
    "GET jobs/J/runs/1/tail/a%20b/process_output.log": {"lines": ["a"]},
    "GET files/F/lines/": {"lines": ["a\n"]},
}


@pytest.mark.parametrize(("call", "request_", "scope", "repeats"), CALLS, ids=[case[1] for case in CALLS])
def test_requests(
    client: Face, server: Server, call: Any, request_: str, scope: Scope, repeats: bool
) -> None:
    what = request_.partition("?")[0]
    document = [] if isinstance(call, PagedCall) else ANSWERS.get(what, {"id": "x"})
    server.on(what, answer(document))
    if isinstance(call, PagedCall):
        assert client.all(call) == []
        call = call.first()
    else:
        client.send(call)
    assert server.requests() == [request_]
    seen = server.seen[0]
    assert (seen.json if seen.body else None) == call.body
    assert (seen.headers.get("content-type") == "application/json") is (call.body is not None)
    assert "chunked" not in seen.headers.get("transfer-encoding", "")
    assert (call.scope, call.repeat is Repeat.SAFE) == (scope, repeats)


def test_every_endpoint_is_tried_here() -> None:
    source = set(endpoint_names)
    tried = {name for name in source if any(f"endpoints.{name}(" in line for line in _lines())}
    assert source - tried == set()


def _lines() -> list[str]:
    with open(__file__, encoding="utf-8") as stream:
        return stream.readlines()


@pytest.mark.parametrize("part", ["", " ", ".", "..", None, True, 1.5, "a\nb", ["J"]])
def test_ids_that_are_none(part: Any) -> None:
    with pytest.raises(InvalidRequest):
        endpoints.get_job(part)


@pytest.mark.parametrize(
    ("part", "path"), [("a/b", "jobs/a%2Fb/"), ("a?b#c", "jobs/a%3Fb%23c/"), (7, "jobs/7/")]
)
def test_ids_stay_one_part_of_the_path(client: Face, server: Server, part: Any, path: str) -> None:
    server.on(f"GET {path}", answer({"id": "x"}))
    assert client.send(endpoints.get_job(part)).id == "x"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../../b", "..", "a/\0"])
def test_paths_that_leave_the_run(path: str) -> None:
    with pytest.raises(InvalidRequest):
        endpoints.tail("J", "1", path, lines=1)


def test_answers_without_a_body_are_fine_where_none_is_needed(client: Face, server: Server) -> None:
    for what in ("POST jobs/J/runs/1/stop/", "POST jobs/J/tags/", "POST storage-devices/D/submit/"):
        server.on(what, Raw(204))
    for call in (
        endpoints.stop_run("J", "1"),
        endpoints.add_tag("J", "t"),
        endpoints.submit_storage_device("D"),
    ):
        assert client.send(call) is None


def test_automations_have_variables() -> None:
    call = endpoints.create_job({"jobAutomations": [{"x": 1}, {"environmentVariables": {"A": "1"}}, 5]})
    assert call.body["jobAutomations"] == [
        {"x": 1, "environmentVariables": {}},
        {"environmentVariables": {"A": "1"}},
        5,
    ]


def test_the_public_names() -> None:
    assert sorted(public_names) == [
        "AsyncRescaleClient", "Call", "Credentials", "Flow", "Page", "PagedCall", "Pause", "REGIONS",
        "RateBuckets", "Repeat", "RequestPolicy", "RescaleClient", "Scope", "Secret", "conversations",
        "costs", "endpoints", "load_credentials", "models", "parse_moment", "studies",
    ]  # fmt: skip
    import scale_airflow.rescale

    assert all(hasattr(scale_airflow.rescale, name) for name in public_names)
