# SPDX-License-Identifier: Apache-2.0
"""What all lists have in common: pages with addresses, ranges, orders, and what they refuse."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session
from world import World

from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_recipe

API = "/scale/api"


@pytest.fixture
def sources(world: World) -> list[int]:
    start = datetime(2015, 1, 1, tzinfo=timezone.utc)
    return [
        world.source(f"scene {number}.zip", last_modified=start + timedelta(days=number)).id
        for number in range(5)
    ]


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["results"]]


class TestPages:
    """`page` and `page_size`."""

    def test_walk(self, client: httpx.Client, sources: list[int], viewer: dict[str, str]) -> None:
        found: list[int] = []
        address = f"{API}/sources/?page_size=2&order=-last_modified&file_name="
        previous = None
        while address:
            answer = client.get(address, headers=viewer)
            body = answer.json()
            assert body["count"] == 5
            found += ids(answer)
            assert body["previous"] == previous
            previous = str(answer.url) if "page=" in str(answer.url) else f"{answer.url}&page=1"
            address = body["next"]
        assert found == sources[::-1]

    def test_behind_a_proxy(self, client: httpx.Client, sources: list[int], viewer: dict[str, str]) -> None:
        headers = {**viewer, "X-Forwarded-Host": "public.example:8443", "X-Forwarded-Proto": "https"}
        body = client.get(f"{API}/sources?page_size=2&page=2", headers=headers).json()
        root = "https://public.example:8443/scale/api"
        assert body["next"] == f"{root}/sources/?page_size=2&page=3"
        assert body["previous"] == f"{root}/sources/?page_size=2&page=1"
        assert body["results"][0]["url"] == f"{root}/files/{sources[2]}/content/"

    def test_a_forged_host_is_not_repeated(
        self, client: httpx.Client, sources: list[int], viewer: dict[str, str]
    ) -> None:
        headers = {**viewer, "X-Forwarded-Host": "evil.example/x?"}
        body = client.get(f"{API}/sources/?page_size=2", headers=headers).json()
        assert body["next"].startswith("http://scale.example/scale/api/sources/?")

    def test_empty(self, client: httpx.Client, database: str, viewer: dict[str, str]) -> None:
        empty = {"count": 0, "next": None, "previous": None, "results": []}
        assert client.get(f"{API}/sources/", headers=viewer).json() == empty
        assert client.get(f"{API}/sources/?page=2", headers=viewer).status_code == 400

    @pytest.mark.parametrize(
        "query",
        [
            "page=0",
            "page=-1",
            "page=x",
            "page=4&page_size=2",
            "page=1000000000",
            "page=99999999999999999999",
            "page=1.5",
            "page_size=0",
            "page_size=1001",
            "page_size=NaN",
            "started=2015-01-01T00:00:00",
            "started=2015-01-01",
            "started=yesterday",
            "started=P",
            "started=PT",
            "started=P1H",
            "started=P99999Y",
            "started=PT99999999999H",
            "started=0001-01-01T00:00:00%2B10:00",
            "ended=2015-13-01T00:00:00Z",
            "started=2015-01-02T00:00:00Z&ended=2015-01-01T00:00:00Z",
            "started=2015-01-01T00:00:00Z&ended=2015-01-01T00:00:00Z",
            "started=PT1H&ended=PT2H",
            "order=nothing",
            "order=-",
            "order=workspace__password",
            "order=job_type__name",
            "order=meta_data",
            "is_parsed=yes",
            "is_parsed=2",
        ],
    )
    def test_refused(
        self, client: httpx.Client, sources: list[int], viewer: dict[str, str], query: str
    ) -> None:
        answer = client.get(f"{API}/sources/?{query}", headers=viewer)
        assert answer.status_code == 400, (query, answer.text)
        assert answer.json()["detail"]
        assert answer.json()["errors"][0]["path"] in query

    def test_all_faults_at_once(self, client: httpx.Client, database: str, viewer: dict[str, str]) -> None:
        answer = client.get(f"{API}/sources/?page=0&page_size=x&started=x&is_parsed=x", headers=viewer)
        assert [each["path"] for each in answer.json()["errors"]] == [
            "page",
            "page_size",
            "started",
            "is_parsed",
        ]

    def test_an_unknown_field_names_the_known_ones(
        self, client: httpx.Client, database: str, viewer: dict[str, str]
    ) -> None:
        detail = client.get(f"{API}/sources/?order=file_nam", headers=viewer).json()["detail"]
        assert 'Did you mean "file_name"?' in detail
        assert "workspace__name" in detail


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("started=2015-01-03T00:00:00Z", [2, 3, 4]),
        ("ended=2015-01-03T00:00:00Z", [0, 1, 2]),
        ("started=2015-01-02T00:00:00.001Z&ended=2015-01-04T00:00:00Z", [2, 3]),
        ("started=2015-01-03T02:00:00%2B02:00", [2, 3, 4]),
        ("started=2015-01-03T02:00:00+02:00", [2, 3, 4]),
        ("started=P1Y", []),
        ("started=p1y2m3w4dt5h6m7.5s", []),
        ("ended=P1Y", [0, 1, 2, 3, 4]),
        ("started=", [0, 1, 2, 3, 4]),
        ("order=-file_name", [4, 3, 2, 1, 0]),
        ("order=file_size&order=-id", [4, 3, 2, 1, 0]),
        ("order=workspace__name&order=-last_modified", [4, 3, 2, 1, 0]),
        ("is_parsed=F", [0, 1, 2, 3, 4]),
        ("is_parsed=1", []),
        ("file_name=scene+3.zip", [3]),
    ],
)
def test_ranges_orders_filters(
    client: httpx.Client, sources: list[int], viewer: dict[str, str], query: str, expected: list[int]
) -> None:
    answer = client.get(f"{API}/sources/?{query}", headers=viewer)
    assert ids(answer) == [sources[number] for number in expected]


@pytest.mark.parametrize(
    "path",
    [
        *("/sources/", "/jobs/", "/jobs/updates/", "/jobs/executions/", "/job-executions/", "/recipes/"),
        "/products/",
    ],
)
def test_a_longer_list_needs_no_more_queries(
    client: httpx.Client, world: World, session: Session, viewer: dict[str, str], path: str
) -> None:
    def queries() -> tuple[int, int]:
        seen: list[str] = []

        def note(_: object, __: object, statement: str, *___: object) -> None:
            # FAB looks its users up anew every half minute.
            if "scale_" in statement:
                seen.append(statement)

        event.listen(session.get_bind(), "before_cursor_execute", note)
        try:
            answer = client.get(f"{API}{path}", headers=viewer)
        finally:
            event.remove(session.get_bind(), "before_cursor_execute", note)
        return answer.json()["count"], len(seen)

    make(world, "a")
    few, asked = queries()
    for name in "bc":
        make(world, name)
    many, asked_again = queries()
    assert 0 < few < many
    assert asked_again == asked


def make(world: World, name: str) -> None:
    """Run a recipe of one job, of types of their own, on a file of its own."""
    world.job_type(name)
    uses = [{"recipe_input": "scene", "job_input": "input"}]
    job_type = {"name": name, "version": "1.0"}
    recipe_type = world.recipe_type(name, [{"name": "x", "job_type": job_type, "recipe_inputs": uses}])
    data = {
        "input_data": [{"name": "scene", "file_id": world.source().id}],
        "workspace_id": world.workspace().id,
    }
    recipe = queue_recipe(
        world.session, recipe_type=recipe_type, data=data, event=user_event(world.session, "me")
    )
    world.session.commit()
    world.dispatch()
    world.run(recipe.jobs[0])
