# SPDX-License-Identifier: Apache-2.0
"""What takes several calls, with both clients: creating with advice, changing, pricing, stopping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from unit.rescale.faces import Face
from unit.rescale.scripted import Raw, Seen, Server, answer, page
from unit.rescale.test_costs import body
from unit.rescale.test_refusals import ANY_JSON

from scale_airflow.errors import (
    InvalidRequest,
    RescaleCostRefused,
    RescaleNotFound,
    RescaleRefused,
)
from scale_airflow.rescale import Pause, conversations, endpoints

CORE_TYPES = page(
    {"code": "granite", "cores": [2, 4], "price": "0.1", "lowPriorityPrice": "0.05", "memory": 4000},
    {"code": "emerald_max", "cores": [4], "price": "0.2", "lowPriorityPrice": "0.1", "memory": 8000},
)
ANALYSES = page(
    {"code": "openfoam", "versions": [{"versionCode": "8", "allowedCoreTypes": ["emerald_max"]}]},
    {"code": "openfoam_plus", "versions": []},
)


@pytest.fixture
def catalog(server: Server) -> Server:
    server.on("GET coretypes/", CORE_TYPES)
    server.on("GET analyses/", ANALYSES)
    server.on("GET billing/computeprices/", answer([]))
    server.on("GET users/me/projects/", page({"id": "p1", "name": "Wings"}))
    return server


def refused(document: Any) -> Raw:
    return answer(document, 400)


@pytest.mark.parametrize(
    ("job", "said", "advice"),
    [
        (
            body(coresPerSlot=1),
            {"jobanalyses": [{"hardware": {"coresPerSlot": ["Not a valid number of cores."]}}]},
            "granite has slots of 2, 4 cores.",
        ),
        (
            body(coreType="granit"),
            {"jobanalyses": [{"hardware": {"coreType": ["Unknown."]}}]},
            "The nearest core types are granite.",
        ),
        (
            {"jobanalyses": [{"analysis": {"code": "open_foam"}}]},
            {"jobanalyses": [{"analysis": {"code": ["Unknown."]}}]},
            "The nearest analyses are openfoam",
        ),
        (
            {"jobanalyses": [{"analysis": {"code": "openfoam", "version": "x"}}]},
            {"jobanalyses": [{"analysis": {"version": ["Unknown."]}}]},
            "There are these versions of openfoam: 8.",
        ),
        ({"name": "x"}, {"projectId": ["Required."]}, "Your projects: p1 (Wings)."),
    ],
)
def test_a_refused_job_is_told_what_would_be_right(
    client: Face, catalog: Server, job: dict[str, Any], said: Any, advice: str
) -> None:
    catalog.on("POST jobs/", refused(said))
    with pytest.raises(RescaleRefused) as caught:
        client.run(conversations.create(job))
    assert advice in str(caught.value)
    assert advice in caught.value.faults[0].message
    assert caught.value.status == 400
    assert [request for request in catalog.requests() if request.startswith("POST")] == ["POST jobs/"]


def test_advice_that_can_not_be_had_takes_nothing_away(client: Face, server: Server) -> None:
    server.on("POST jobs/", refused({"projectId": ["Required."]}))
    with pytest.raises(RescaleRefused, match="projectId: Required"):
        client.run(conversations.create({"name": "x"}))
    server.on("POST jobs/", refused({"command": ["No 'interactive' in it."]}))
    with pytest.raises(RescaleRefused, match="interactive"):
        client.run(conversations.create({"name": "x"}))


def test_keys_that_rescale_ignores_are_named_before_anything_is_sent(client: Face, server: Server) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.run(conversations.create({"project_id": "p"}))
    assert "'projectId'" in caught.value.faults[0].message
    assert server.seen == []


def test_a_job_like_another(client: Face, server: Server) -> None:
    saved = {"id": "OLD", "owner": "x", **body()}
    server.on("GET jobs/OLD/", answer(saved))
    server.on("POST jobs/", lambda seen: answer({**seen.json, "id": "NEW"}, 201))
    job = client.run(conversations.create_like("OLD", {"name": "again"}))
    assert (job.id, job.name, job.owner) == ("NEW", "again", "")
    with pytest.raises(RescaleNotFound):
        client.run(conversations.create_like("GONE"))


def test_a_job_like_one_whose_files_were_deleted(client: Face, server: Server) -> None:
    saved = {"id": "OLD", **body()}
    saved["jobanalyses"][0]["inputFiles"] = [{"id": "a"}, {"id": "b", "name": "mesh.dat", "isDeleted": True}]
    server.on("GET jobs/OLD/", answer(saved))
    server.on("POST jobs/", lambda seen: answer({**seen.json, "id": "NEW"}, 201))
    with pytest.raises(
        RescaleRefused, match=r"/jobanalyses/0/inputFiles/1: the file 'mesh.dat' \(b\) was deleted"
    ):
        client.run(conversations.create_like("OLD"))
    changes = {"jobanalyses": [{"inputFiles": [{"id": "a"}, {"id": "c"}]}]}
    assert client.run(conversations.create_like("OLD", changes)).id == "NEW"


class Saved:
    """A job that is changed, or not, by PATCH."""

    def __init__(self, server: Server, submitted: bool):
        self.job: dict[str, Any] = {"id": "J", "name": "old", "envVars": {"A": "1"}, "walltime": 3}
        self.submitted = submitted
        server.on("PATCH jobs/J/", self.patch)
        server.on("GET jobs/J/", lambda seen: answer(self.job))

    def patch(self, seen: Seen) -> Raw:
        if not self.submitted:
            self.job |= seen.json
        return answer({"id": "J", "isLowPriority": False, "name": self.job["name"]})


def test_a_change_that_is_made(client: Face, server: Server) -> None:
    Saved(server, submitted=False)
    assert client.run(conversations.change_job("J", {"name": "new", "walltime": "3.0"})).name == "new"


def test_a_change_that_is_accepted_and_not_made(client: Face, server: Server) -> None:
    Saved(server, submitted=True)
    with pytest.raises(
        RescaleRefused, match=r"accepted the change of job J but not made it \(/name\)"
    ) as caught:
        client.run(conversations.change_job("J", {"name": "new", "walltime": 3}))
    assert caught.value.faults[0].message == "is 'old', not 'new'"


@settings(max_examples=25)
@given(ANY_JSON)
def test_a_document_does_not_differ_from_itself(document: Any) -> None:
    assert conversations.differences(document, document) == []
    assert conversations.differences({"a": document}, {"a": document, "more": 1}) == []


@pytest.mark.parametrize(
    ("wanted", "found", "paths"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["/a/b"]),
        ({"a": [1, 2]}, {"a": [1]}, ["/a"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": "1.0", "c": 2}]}, []),
        ({"a": None}, {}, []),
        ({"a": {}}, {"a": None}, []),
        ({"a": {"b": 1}}, {"a": None}, ["/a"]),
        ({"a": "x" * 100}, {"a": 5}, ["/a"]),
    ],
)
def test_what_differs(wanted: Any, found: Any, paths: list[str]) -> None:
    assert [fault.path for fault in conversations.differences(wanted, found)] == paths


def test_what_a_job_costs(client: Face, catalog: Server) -> None:
    found = client.run(conversations.priced(body()))
    assert str(found.estimate.total) == "1.20"
    assert found.body == body()
    with pytest.raises(RescaleCostRefused, match=r"could cost 1\.20"):
        client.run(conversations.priced(body(), max_cost=1))
    assert {request.partition("?")[0] for request in catalog.requests()} == {"GET coretypes/"}


def test_the_price_list_is_asked_where_hardware_does_not_tell(client: Face, catalog: Server) -> None:
    catalog.on("GET coretypes/", page({"code": "granite", "cores": [4]}))
    row = {"coreType": "granite", "planType": "instant", "os": "linux", "isActive": True}
    catalog.on("GET billing/computeprices/", answer([{**row, "value": {"amount": "0.2"}}]))
    assert str(client.run(conversations.priced(body())).estimate.total) == "2.40"


def test_the_cheapest_that_the_analysis_can_run_on(client: Face, catalog: Server) -> None:
    found = client.run(conversations.priced(body(coreType="cheapest", coresPerSlot=2), max_cost="2.40"))
    assert found.body["jobanalyses"][0]["hardware"]["coreType"] == "emerald_max"
    assert str(found.estimate.total) == "2.40"


def test_tags_and_pauses(client: Face, server: Server) -> None:
    server.on("POST jobs/J/tags/", Raw(201))
    server.on("DELETE jobs/J/tags/", Raw(204))
    client.run(conversations.add_tags("J", ["a", "b"]))
    client.run(conversations.delete_tags("J", ["a"]))
    assert [seen.json for seen in server.seen] == [{"name": "a"}, {"name": "b"}, {"name": "a"}]

    def flow() -> Any:
        yield Pause(0.0)
        try:
            yield endpoints.get_job("GONE")
        except RescaleNotFound:
            return "caught"

    assert client.run(flow()) == "caught"
