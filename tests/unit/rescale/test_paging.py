# SPDX-License-Identifier: Apache-2.0
"""Lists: page by page on one server, whatever the answers say."""

from __future__ import annotations

from typing import Any

import pytest
from unit.rescale.faces import Face
from unit.rescale.scripted import Seen, Server, answer, page

from scale_airflow.errors import RescaleBadAnswer, RescaleUnauthorized
from scale_airflow.rescale import PagedCall, endpoints
from scale_airflow.rescale.paging import MAX_PAGES


def project(number: int) -> dict[str, Any]:
    return {"id": str(number), "name": f"p{number}"}


def test_pages_follow_each_other(client: Face, server: Server) -> None:
    def serve(seen: Seen) -> Any:
        number = int(seen.target.partition("page=")[2] or 1)
        following = f"{server.url}/api/v2/users/me/projects/?page_size=2&page={number + 1}"
        return page(project(2 * number), project(2 * number + 1), next=following if number < 4 else None)

    server.on("GET users/me/projects/", serve)
    found = client.all(endpoints.list_projects())
    assert [each.id for each in found] == [str(number) for number in range(2, 10)]
    assert server.requests()[0] == "GET users/me/projects/?page_size=1000"


def test_a_bare_list_is_one_page(client: Face, server: Server) -> None:
    server.on("GET billing/computeprices/", answer([{"coreType": "a"}, {"coreType": "b"}]))
    assert [row.core_type for row in client.all(endpoints.list_prices())] == ["a", "b"]
    assert server.requests() == ["GET billing/computeprices/"]


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example.org/api/v2/users/me/projects/?page=2",
        "//elsewhere.example.org/api/v2/users/me/projects/?page=2",
        "/api/v2/jobs/?page=2",
        "http://[",
        "file:///etc/passwd",
        "http://127.0.0.1@elsewhere.example.org/api/v2/users/me/projects/?page=2",
    ],
)
def test_a_page_elsewhere_is_not_asked_for(client: Face, server: Server, link: str) -> None:
    server.on("GET users/me/projects/", page(project(1), next=link))
    with pytest.raises(RescaleBadAnswer, match="It was not followed"):
        client.all(endpoints.list_projects())
    assert len(server.seen) == 1


def test_another_scheme_or_port_of_the_same_host_is_our_own(client: Face, server: Server) -> None:
    # As a server behind a proxy writes it, which does not know how it is spoken to.
    link = "https://127.0.0.1/api/v2/users/me/projects/?page=2"
    server.on("GET users/me/projects/", page(project(1), next=link), page(project(2)))
    assert [each.id for each in client.all(endpoints.list_projects())] == ["1", "2"]
    assert server.requests()[1] == "GET users/me/projects/?page=2"


def test_a_circle_ends(client: Face, server: Server) -> None:
    link = f"{server.url}/api/v2/users/me/projects/?page=2"
    server.on("GET users/me/projects/", page(project(1), next=link))
    with pytest.raises(RescaleBadAnswer, match="does not end"):
        client.all(endpoints.list_projects())
    assert len(server.seen) == 2


def test_a_list_without_end_ends() -> None:
    from scale_airflow.rescale.paging import Page, PageWalk

    walk = PageWalk(endpoints.list_projects(), "https://eu.rescale.com")
    link = "https://eu.rescale.com/api/v2/users/me/projects/?page="
    for number in range(MAX_PAGES):
        walk.turn(Page(0, f"{link}{number}", ()))
    with pytest.raises(RescaleBadAnswer, match="does not end after 1001 pages"):
        walk.turn(Page(0, f"{link}last", ()))


@pytest.mark.parametrize("document", [{"count": 3}, {"results": {}}, "text", 5, {"results": [5]}])
def test_answers_that_are_no_lists(client: Face, server: Server, document: Any) -> None:
    server.on("GET users/me/projects/", answer(document))
    with pytest.raises(RescaleBadAnswer, match=r"no list|where a project should be"):
        client.all(endpoints.list_projects())


def test_a_key_that_expires_between_two_pages(client: Face, server: Server) -> None:
    link = f"{server.url}/api/v2/users/me/projects/?page=2"
    expired = answer({"detail": "API key is no longer active"}, 401)
    server.on("GET users/me/projects/", page(project(1), next=link), expired)
    with pytest.raises(RescaleUnauthorized, match="expired: make a new one"):
        client.all(endpoints.list_projects())


def test_the_size_of_pages_can_be_left_to_rescale() -> None:
    call = PagedCall("x/", lambda row: row, page_size=None).first()
    assert dict(call.query) == {}
