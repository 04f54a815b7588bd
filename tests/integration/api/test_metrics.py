# SPDX-License-Identifier: Apache-2.0
"""Metrics, load and ingest status over HTTP: parameters, forms, and what is refused."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select
from world import World

from scale_airflow.services import plot_data
from scale_airflow.services.load import record_load
from scale_airflow.store.models import (
    Ingest,
    JobType,
    Strike,
    job_type_metrics,
    utcnow,
)

API = "/scale/api"
DAY = date(2024, 2, 28)
NOON = datetime.combine(DAY, time(12), timezone.utc)
HOUR = timedelta(hours=1)
LONG = "X" * 5000


def days(count: int) -> list[date]:
    return [DAY + timedelta(days=number) for number in range(count)]


@pytest.fixture
def types(world: World) -> tuple[int, int]:
    """Two job types with metrics of three days: the first of all, the second of the last one only."""
    first, second = world.job_type("one").id, world.job_type("two").id
    nothing = {column.name: 0 for column in job_type_metrics.c if not column.nullable and column.name != "id"}
    rows: list[tuple[date, int | None, int, int | None]] = []
    for number, day in enumerate(days(3), start=1):
        rows.append((day, first, number, number * 1_500_000))
        rows.append((day, None, number + (number == 3), number * 1_500_000))
    rows.append((DAY + timedelta(days=2), second, 1, None))
    for day, choice, count, shortest in rows:
        values = {**nothing, "day": day, "job_type_id": choice, "total_count": count}
        world.session.execute(insert(job_type_metrics).values(**values, queue_time_min=shortest))
    world.session.commit()
    return first, second


class Asked:
    """Asks for plot data of job types."""

    def __init__(self, client: httpx.Client, login: dict[str, str]):
        self.client, self.login = client, login

    def __call__(self, query: str = "") -> Any:
        answer = self.client.get(f"{API}/metrics/job-types/plot-data/?{query}", headers=self.login)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def values(self, query: str) -> Any:
        (column,) = self(query)["results"]
        return [tuple(each.values()) for each in column["values"]]


@pytest.fixture
def plot(client: httpx.Client, viewer: dict[str, str]) -> Asked:
    return Asked(client, viewer)


def shown(*numbers: int) -> list[tuple[str, int]]:
    return [(day.isoformat(), value) for day, value in zip(days(3), numbers, strict=False)]


def test_types_and_their_choices(
    client: httpx.Client, viewer: dict[str, str], types: tuple[int, int]
) -> None:
    found = client.get(f"{API}/metrics/", headers=viewer).json()
    assert [(each["name"], len(each["columns"]), len(each["groups"])) for each in found["results"]] == [
        ("ingests", 17, 4),
        ("job-types", 28, 7),
    ]
    details = client.get(f"{API}/metrics/job-types", headers=viewer).json()
    names = [each["name"] for each in details["choices"]]
    assert names == sorted(names)
    assert {"one", "two", "scale-clock"} <= set(names)
    assert {"param": "version", "type": "string"} in details["filters"]
    assert client.get(f"{API}/metrics/ingests/", headers=viewer).json()["choices"] == []
    for wrong in ("nothing", "job-types%00", "%ED%A0%80", LONG):
        answer = client.get(f"{API}/metrics/{wrong}/", headers=viewer)
        assert answer.status_code in (400, 404), (wrong, answer.text)
        assert client.get(f"{API}/metrics/{wrong}/plot-data/", headers=viewer).status_code in (400, 404)


def test_all_choices_together(plot: Asked, types: tuple[int, int]) -> None:
    assert plot()["count"] == 28
    assert plot.values("column=total_count") == shown(1, 2, 4)
    (column,) = plot("column=total_count")["results"]
    bounds = (column["min_x"], column["max_x"], column["min_y"], column["max_y"])
    assert bounds == ("2024-02-28", "2024-03-01", 1, 4)
    assert plot.values("column=queue_time_min") == shown(2, 3, 5)  # halves are rounded up
    assert plot.values("column=queue_time_max") == []
    (column,) = plot("column=queue_time_max")["results"]
    assert (column["min_x"], column["max_x"], column["min_y"], column["max_y"]) == (None,) * 4


def test_choices(plot: Asked, types: tuple[int, int]) -> None:
    first, second = types
    assert plot.values(f"column=total_count&choice_id={first}") == shown(1, 2, 3)
    assert plot.values(f"column=total_count&choice_id={first}&choice_id={first}") == shown(1, 2, 3)
    assert plot.values(f"column=total_count&choice_id={second}") == shown(0, 0, 1)
    both = f"choice_id={second}&choice_id={first}&choice_id=987654"
    assert plot.values(f"column=total_count&{both}") == [
        (choice, day, value)
        for (day, one), (_, two) in zip(shown(1, 2, 3), shown(0, 0, 1), strict=True)
        for choice, value in ((first, one), (second, two))
    ]
    assert [each[0] for each in plot.values(f"column=queue_time_min&{both}")] == [first] * 3
    assert plot.values("column=total_count&choice_id=987654") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("started=2024-02-29T23:59:59Z", [2, 4]),
        ("ended=2024-02-29T00:00:00Z", [1, 2]),
        ("started=2024-02-29T00:00:00Z&ended=2024-02-29T00:00:01Z", [2]),
        ("started=2024-03-01T00:00:00%2B02:00&ended=2024-02-29T23:00:00Z", [2]),
        ("started=P1D", []),
        ("ended=P1D", [1, 2, 4]),
    ],
)
def test_range(plot: Asked, types: tuple[int, int], query: str, expected: list[int]) -> None:
    assert [value for _, value in plot.values(f"column=total_count&{query}")] == expected


def test_columns_and_groups(plot: Asked, types: tuple[int, int]) -> None:
    def names(query: str) -> list[str]:
        return [each["column"]["name"] for each in plot(query)["results"]]

    overview = ["completed_count", "failed_count", "canceled_count", "total_count"]
    assert names("group=overview") == overview
    assert names("column=run_time_min&column=completed_count") == ["completed_count", "run_time_min"]
    assert names("group=overview&column=run_time_min") == [*overview, "run_time_min"]
    assert names("page=2&page_size=3&group=overview") == ["total_count"]
    assert len(names("column=&group=")) == 28


@pytest.mark.parametrize(
    ("path", "query", "fault"),
    [
        ("metrics/", "page=2", "page"),
        ("metrics/job-types/plot-data/", "column=file_size_sum", "column"),
        ("metrics/ingests/plot-data/", "group=queue_time", "group"),
        ("metrics/ingests/plot-data/", f"column={LONG}", "column"),
        ("metrics/job-types/plot-data/", "choice_id=one", "choice_id"),
        ("metrics/job-types/plot-data/", "choice_id=99999999999999999999", "choice_id"),
        ("metrics/job-types/plot-data/", "page=2", "page"),
        ("metrics/job-types/plot-data/", "started=2024-01-01", "started"),
        ("metrics/job-types/plot-data/", "started=PT1H&ended=PT2H", "started"),
        ("load/", "started=P32D", "started"),
        ("load/", "ended=P31D", "ended"),
        ("load/", "job_type_priority=x", "job_type_priority"),
        ("load/", "started=0001-01-01T00:00:00Z", "started"),
        ("ingests/status/", "started=P2M", "started"),
        ("ingests/status/", "use_ingest_time=maybe", "use_ingest_time"),
        ("ingests/status/", "page=2", "page"),
    ],
)
def test_refused(
    client: httpx.Client, world: World, viewer: dict[str, str], path: str, query: str, fault: str
) -> None:
    answer = client.get(f"{API}/{path}?{query}", headers=viewer)
    assert answer.status_code == 400, answer.text
    assert {each["path"] for each in answer.json()["errors"]} == {fault}


def test_too_many_values_are_refused(
    plot: Asked,
    client: httpx.Client,
    viewer: dict[str, str],
    types: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plot_data, "MAX_VALUES", 8399)
    query = "&".join(f"choice_id={number}" for number in range(100))
    answer = client.get(f"{API}/metrics/job-types/plot-data/?{query}", headers=viewer)
    assert answer.status_code == 400
    assert "fewer choices" in answer.json()["detail"]
    assert plot(f"{query}&column=total_count")["count"] == 1


@pytest.mark.parametrize("path", ["ingests/status/", "load/", "metrics/job-types/plot-data/"])
def test_the_end_of_time(client: httpx.Client, world: World, viewer: dict[str, str], path: str) -> None:
    query = "started=9999-12-30T00:00:00Z&ended=9999-12-31T23:59:59.999999Z"
    assert client.get(f"{API}/{path}?{query}", headers=viewer).status_code == 200


def test_permissions(client: httpx.Client, world: World, nobody: dict[str, str]) -> None:
    for path in ("metrics/", "metrics/ingests/", "metrics/ingests/plot-data/", "load/", "ingests/status/"):
        assert client.get(f"{API}/{path}").status_code == 401
        assert client.get(f"{API}/{path}", headers=nobody).status_code == 403


def test_load(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    now = utcnow().replace(minute=0, second=0, microsecond=0)
    for moment in (now, now - HOUR, now - 9 * 24 * HOUR):
        record_load(world.session, moment)
    world.session.commit()
    found = client.get(f"{API}/load/?pageNumber=null&url=x", headers=viewer).json()
    zero = {"pending_count": 0, "queued_count": 0, "running_count": 0}
    assert found["results"] == [{"time": f"{each:%Y-%m-%dT%H:%M:%SZ}", **zero} for each in (now - HOUR, now)]
    system = world.session.scalars(select(JobType.id).where(JobType.is_system)).all()
    query = "&".join(f"job_type_id={each}" for each in system)
    for filters in (query, "job_type_category=system", "job_type_name=x", "job_type_priority=-1"):
        assert client.get(f"{API}/load/?{filters}", headers=viewer).json() == {**found, "next": None}
    assert client.get(f"{API}/load?started=P10D", headers=viewer).json()["count"] == 3


class TestIngestStatus:
    """`GET /ingests/status/`."""

    @pytest.fixture
    def strike(self, world: World) -> Strike:
        """A Strike process that ingested two files, of which one says when its data is from, and no more."""
        made = Strike(name="mine", configuration={}, dag_id="d")
        idle = Strike(name="idle", configuration={}, dag_id="e")
        world.session.add_all([made, idle])
        world.session.flush()
        old = NOON - 5 * HOUR + timedelta(minutes=59)
        for name, status, source, ended in (
            ("a", "INGESTED", world.source("a", data_started=old).id, NOON),
            ("b", "INGESTED", world.source("b").id, NOON + timedelta(minutes=30)),
            ("c", "INGESTED", None, NOON + HOUR),
            ("d", "DUPLICATE", None, None),
            ("e", "ERRORED", None, None),
        ):
            world.session.add(
                Ingest(
                    file_name=name,
                    strike_id=made.id,
                    status=status,
                    transfer_path=name,
                    file_size=100,
                    source_file_id=source,
                    ingest_ended=ended,
                )
            )
        world.session.commit()
        return made

    def ask(self, client: httpx.Client, login: dict[str, str], query: str) -> Any:
        answer = client.get(f"{API}/ingests/status/?{query}", headers=login)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["count"] == 2
        mine, idle = found["results"]
        assert (idle["files"], idle["size"], idle["most_recent"]) == (0, 0, None)
        assert [each["time"] for each in idle["values"]] == [each["time"] for each in mine["values"]]
        assert mine["most_recent"] == "2024-02-28T13:00:00Z"
        return mine

    def counted(self, mine: Any) -> dict[str, tuple[int, int]]:
        return {each["time"]: (each["files"], each["size"]) for each in mine["values"] if each["files"]}

    def test_by_the_time_of_their_data(
        self, client: httpx.Client, strike: Strike, viewer: dict[str, str]
    ) -> None:
        mine = self.ask(client, viewer, "started=2024-02-28T00:00:00Z&ended=2024-02-28T23:59:59Z")
        assert (mine["files"], mine["size"], len(mine["values"])) == (1, 100, 24)
        assert self.counted(mine) == {"2024-02-28T07:00:00Z": (1, 100)}

    def test_by_the_time_of_their_ingest(
        self, client: httpx.Client, strike: Strike, viewer: dict[str, str]
    ) -> None:
        query = "started=2024-02-28T11:59:59Z&ended=2024-02-28T13:00:00Z&use_ingest_time=T"
        mine = self.ask(client, viewer, query)
        assert (mine["files"], mine["size"]) == (3, 300)
        assert [each["files"] for each in mine["values"]] == [0, 2, 1]
        assert mine["values"][0]["time"] == "2024-02-28T11:00:00Z"

    def test_the_past_week(self, client: httpx.Client, strike: Strike, viewer: dict[str, str]) -> None:
        mine = self.ask(client, viewer, "")
        assert mine["files"] == 0
        first = datetime.fromisoformat(mine["values"][0]["time"].replace("Z", "+00:00"))
        assert (first.hour, len(mine["values"]) > 168) == (0, True)
