# SPDX-License-Identifier: Apache-2.0
"""What all lists have in common: pages with addresses, ranges, orders, and what they refuse."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient
from statements import statements
from work import queued_recipe, steps
from world import World

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

    @pytest.mark.parametrize("kept", ["/scales", ""], ids=["kept", "taken away"])
    def test_behind_a_proxy_with_a_path_of_its_own(
        self, api_server: Any, sources: list[int], viewer: dict[str, str], kept: str
    ) -> None:
        """``[api] base_url`` has a path, which is what Airflow gives to its application as the root."""
        client = TestClient(api_server, base_url="http://inside:8080", root_path="/scales")
        headers = {**viewer, "X-Forwarded-Host": "public.example", "X-Forwarded-Proto": "https"}
        body = client.get(f"{kept}{API}/sources/?page_size=2&page=2&order=id", headers=headers).json()
        root = "https://public.example/scales/scale/api"
        assert body["next"] == f"{root}/sources/?page_size=2&order=id&page=3"
        assert body["previous"] == f"{root}/sources/?page_size=2&order=id&page=1"
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

    @pytest.mark.parametrize(
        ("query", "paths"),
        [
            ("sources/?page=0&order=x&started=2015-01-02T00:00:00Z&ended=P20Y", ["page", "started", "order"]),
            ("job-types/status/?order=x&ended=P1Y", ["ended", "order"]),
            ("job-types/status/?page=0&order=x&ended=P1Y", ["page", "ended", "order"]),
            ("nodes/status/?page=0&ended=P1Y", ["page", "ended"]),
            ("load/?page=0&ended=P1Y", ["page", "ended"]),
            ("ingests/status/?page=0&started=P2Y", ["page", "started"]),
            ("products/updates/?page=0&order=update__when&order=x", ["page", "order"]),
            (
                "metrics/job-types/plot-data/?page=0&choice_id=x&column=y&group=z&started=PT1H&ended=PT2H",
                ["page", "choice_id", "started", "column", "group"],
            ),
            (
                "metrics/job-types/plot-data/?column=y&group=z&started=PT1H&ended=PT2H",
                ["started", "column", "group"],
            ),
            ("configuration/?include=x&job_type_id=y", ["include", "job_type_id"]),
        ],
    )
    def test_and_those_that_no_parameter_has_alone(
        self, client: httpx.Client, database: str, viewer: dict[str, str], query: str, paths: list[str]
    ) -> None:
        answer = client.get(f"{API}/{query}", headers=viewer)
        assert [each["path"] for each in answer.json()["errors"]] == paths, answer.text

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


def value_at(result: dict[str, Any], field: str) -> Any:
    """Return what an answer has at a field's place; the name of an object alone stands for its id."""
    found: Any = result
    for name in field.split("__"):
        if found is None:
            return None
        found = found[name]
    return found["id"] if isinstance(found, dict) else found


LISTS = (
    *("/errors/", "/job-types/", "/recipe-types/", "/workspaces/", "/nodes/", "/sources/", "/products/"),
    *("/jobs/", "/jobs/updates/", "/jobs/executions/", "/job-executions/", "/recipes/", "/ingests/"),
)


def test_every_field_orders_by_what_the_answer_shows(
    client: httpx.Client, world: World, viewer: dict[str, str]
) -> None:
    for name in "ab":
        make(world, name)
    wrong = [
        (path, field)
        for path in LISTS
        for field in fields_of(client, viewer, path)
        if not orders(client, viewer, path, field)
    ]
    assert wrong == []


def fields_of(client: httpx.Client, viewer: dict[str, str], path: str) -> list[str]:
    """Return the fields that a list can be ordered by, as it tells them."""
    refused = client.get(f"{API}{path}?order=none", headers=viewer).json()["detail"]
    fields: list[str] = refused.rpartition("The fields are: ")[2].rstrip(".").split(", ")
    assert {"id", "last_modified"} <= set(fields)
    return fields


def orders(client: httpx.Client, viewer: dict[str, str], path: str, field: str) -> bool:
    """Say whether a list can be ordered by a field, and is."""
    answer = client.get(f"{API}{path}?order=-{field}", headers=viewer)
    if answer.status_code != 200:
        return False
    # The type of an execution's job may be named without the job.
    place = f"job__{field}" if path == "/job-executions/" and field.startswith("job_type") else field
    values = [value_at(result, place) for result in answer.json()["results"]]
    # What is text in the answer and something else in the database, or in another collation, is not compared.
    plain = all(isinstance(value, int | float) or str(value).isalnum() for value in values)
    return not plain or None in values or values == sorted(values, reverse=True)


def test_the_first_field_counts_most(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    for name in "ab":
        make(world, name)
        make(world, f"{name} again", job_type=name)
    answer = client.get(f"{API}/jobs/?order=-job_type__name&order=id", headers=viewer).json()["results"]
    found = [(each["job_type"]["name"], each["id"]) for each in answer]
    assert found == sorted(found, key=lambda each: (-ord(each[0]), each[1]))
    assert [name for name, _ in found] == ["b", "b", "a", "a"]
    answer = client.get(f"{API}/jobs/?order=job_type__name&order=-id", headers=viewer).json()["results"]
    assert [each["id"] for each in answer] == [number for _, number in found[::-1]]


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
        with statements(session) as seen:
            answer = client.get(f"{API}{path}", headers=viewer)
        # FAB looks its users up anew every half minute.
        return answer.json()["count"], len([statement for statement in seen if "scale_" in statement])

    make(world, "a")
    few, asked = queries()
    for name in "bc":
        make(world, name)
    many, asked_again = queries()
    assert 0 < few < many
    assert asked_again == asked


def make(world: World, name: str, job_type: str | None = None) -> None:
    """Run a recipe of one job, of types of their own unless one is named, on a file of its own."""
    if job_type is None:
        world.job_type(name)
    recipe = queued_recipe(world, world.recipe_type(name, steps(job_type or name)))
    world.dispatch()
    world.run(recipe.jobs[0])
