# SPDX-License-Identifier: Apache-2.0
"""The small parts of the emulator: clock, buckets, windows, pages, ranges, rules, routes, settings."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from yarl import URL

from scale_airflow.rescale.emulator import catalog
from scale_airflow.rescale.emulator.clock import Clock
from scale_airflow.rescale.emulator.contents import range_of
from scale_airflow.rescale.emulator.faults import KINDS, Faults
from scale_airflow.rescale.emulator.paging import page_of
from scale_airflow.rescale.emulator.refusals import RefusedError
from scale_airflow.rescale.emulator.routing import Endpoint, RedirectError, Router
from scale_airflow.rescale.emulator.settings import Settings
from scale_airflow.rescale.emulator.shaping import BURST, Bucket, Shaping
from scale_airflow.rescale.emulator.throttle import Throttle
from scale_airflow.rescale.emulator.validation import Fields

# ---- clock ----


async def test_the_clock_can_be_put_forward() -> None:
    clock = Clock(pace=1)
    before = clock.now()
    waiting = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.advance(1800)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(1801)
    await asyncio.wait_for(waiting, 5)
    assert (clock.now() - before).total_seconds() >= 3601


async def test_the_pace_shortens_waits() -> None:
    await asyncio.wait_for(Clock(pace=0.0001).sleep(1000), 5)
    await asyncio.wait_for(Clock(pace=0).sleep(1e9), 5)


# ---- shaping ----


def test_a_bucket_holds_its_speed_whatever_the_pieces() -> None:
    for piece in (1, 10, 100, 1000):
        bucket = Bucket()
        now = time.monotonic()
        for _ in range(10_000 // piece):
            now += bucket.reserve(piece, 1000.0, now)
        assert now - time.monotonic() == pytest.approx(10, rel=0.02)


def test_what_a_timer_is_late_does_not_count() -> None:
    bucket = Bucket()
    begin = now = time.monotonic()
    for _ in range(100):
        now += bucket.reserve(100, 1000.0, now) + BURST / 2
    assert now - begin == pytest.approx(10, rel=0.03)


def test_an_idle_connection_saves_up_little() -> None:
    bucket = Bucket()
    begin = time.monotonic() + 3600
    assert bucket.reserve(1000, 1000.0, begin) == pytest.approx(1 - BURST)
    assert Bucket().reserve(10**9, 0.0, begin) == 0


async def test_without_limits_nobody_waits() -> None:
    shaping = Shaping(Settings())
    assert not shaping.on
    await asyncio.wait_for(shaping.sent(object(), 10**12), 1)
    assert shaping.piece() == 2**20


# ---- throttle ----


def test_windows_slide() -> None:
    settings = Settings(throttle=True)
    settings.rates = {"user": (2, 10.0)}
    now = [100.0]
    throttle = Throttle(settings, lambda: now[0])
    assert throttle.pass_or_refuse("k", "user")["X-RateLimit-Remaining"] == "1"
    now[0] = 104.0
    throttle.pass_or_refuse("k", "user")
    with pytest.raises(RefusedError) as caught:
        throttle.pass_or_refuse("k", "user")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "6")
    throttle.pass_or_refuse("another", "user")
    assert throttle.pass_or_refuse("k", "file-access") == {}
    now[0] = 110.5
    throttle.pass_or_refuse("k", "user")
    with pytest.raises(RefusedError, match="Expected available in 4 seconds"):
        throttle.pass_or_refuse("k", "user")
    settings.throttle = False
    assert throttle.pass_or_refuse("k", "user") == {}


# ---- pages ----


def test_every_item_is_on_one_page() -> None:
    for count in (0, 1, 9, 10, 11, 35):
        url, found = URL("http://h:1/l/?search=a%20b"), []
        while True:
            page = page_of(range(count), url, lambda one: one)
            found += page["results"]
            if page["next"] is None:
                break
            assert URL(page["next"]).query["search"] == "a b"
            url = URL(page["next"])
        assert (found, page["count"]) == (list(range(count)), count)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("page_size=3&page=2", [3, 4, 5]),
        ("page_size=0", list(range(10))),
        ("page_size=x", list(range(10))),
        ("page_size=-3", list(range(10))),
        ("page=last", list(range(1200, 1205))),
        ("page_size=5000", list(range(1000))),
    ],
)
def test_sizes_of_pages(query: str, numbers: list[int]) -> None:
    page = page_of(range(1205), URL(f"http://h/l/?{query}"), lambda one: one)
    assert page["results"] == numbers


# ---- ranges ----


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes= 0 - 9 ", (0, 10)),
        ("bytes=90-", (90, 10)),
        ("bytes=-1", (99, 1)),
        ("bytes=99-999999999999999999999999", (99, 1)),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("items=0-9", None),
    ],
)
def test_what_a_range_asks_for(header: str, found: tuple[int, int] | None) -> None:
    assert range_of(header, 100) == found


# ---- fault rules ----


def test_each_rule_counts_for_itself() -> None:
    faults = Faults()
    faults.add({"kind": "cut", "method": "POST", "path": "/submit/$", "skip": 1})
    faults.add({"kind": "delay", "times": None})
    kinds = [
        (fault := faults.pick(method, path)) and fault.kind
        for method, path in (
            ("POST", "/a/submit/"),
            ("GET", "/a/submit/"),
            ("POST", "/b/submit/"),
            ("POST", "/"),
        )
    ]
    assert kinds == ["delay", "delay", "cut", "delay"]
    faults.clear()
    assert faults.pick("GET", "/") is None


def test_every_kind_can_be_asked_for() -> None:
    faults = Faults()
    for kind in KINDS:
        assert faults.add({"kind": kind}).fault.kind == kind


def test_breaks_by_chance_come_as_often_as_told() -> None:
    faults = Faults()
    fault = faults.add({"kind": "reset", "per_megabyte": 0.5}).fault
    broken = [faults.break_at(fault, 2**20) for _ in range(2000)]
    places = [one for one in broken if one is not None]
    assert 0.35 < len(places) / len(broken) < 0.44
    assert all(0 <= one < 2**20 for one in places)


# ---- routes ----


async def nothing(exchange: Any) -> Any:
    return exchange


ROUTER = Router(
    [
        Endpoint("/jobs/", "s", {"GET": nothing}),
        Endpoint("/jobs/{job}/runs/{run}/tail/{path*}", "s", {"GET": nothing}),
        Endpoint("/files/{file}/", "s", {"POST": nothing, "DELETE": nothing}),
    ]
)


def test_paths_find_their_functions() -> None:
    match = ROUTER.match("GET", "/api/v2/jobs/J/runs/1/tail/a/b c/../d")
    assert match.values == {"job": "J", "run": "1", "path": "a/b c/../d"}
    assert ROUTER.match("HEAD", "/api/v2/jobs/").handler is nothing
    assert ROUTER.match("GET", "/api/jobs/").handler is nothing
    with pytest.raises(RedirectError):
        ROUTER.match("GET", "/api/v2/jobs")
    with pytest.raises(RedirectError):
        ROUTER.match("GET", "/api/v2/files/F")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v2/files/F", 404),
        ("GET", "/api/v2/files/F/", 405),
        ("POST", "/api/v2/jobs/", 405),
        ("GET", "/api/v3/jobs/", 404),
        ("GET", "/api/v2/jobs/x/y/z/", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/api", 404),
        ("GET", "/api/v1/jobs/", 404),
        ("GET", "/x/api/jobs/", 404),
        ("GET", "/", 404),
    ],
)
def test_paths_that_are_refused(method: str, path: str, status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        ROUTER.match(method, path)
    assert caught.value.status == status


# ---- settings and fields ----


def test_settings_change_all_or_nothing() -> None:
    settings = Settings()
    settings.change({"pace": 2, "throttle": True, "rates": {"user": [5, 1]}, "gateway_timeout_every": 3})
    assert (settings.pace, settings.throttle, settings.gateway_timeout_every) == (2.0, True, 3)
    assert settings.rates["user"] == (5, 1.0)
    assert settings.rates["jobs-usage"] == (90000, 3600.0)
    with pytest.raises(ValueError, match="latency is a number"):
        settings.change({"pace": 7, "latency": "x"})
    with pytest.raises(ValueError, match="Settings are an object"):
        settings.change([])
    assert settings.pace == 2.0
    again = Settings()
    again.change({**settings.to_document(), "rates": {"user": [5, 1]}})
    assert again.to_document() == settings.to_document()


def test_fields_collect_their_faults() -> None:
    fields = Fields({"a": 1, "flag": "TRUE", "n": "7", "m": {"k": 1, "bad": []}, "list": [{"x": 1}, 3]})
    assert (fields.text("a"), fields.flag("flag", False), fields.number("n")) == ("1", True, 7)
    assert fields.mapping("m") == {"k": "1"}
    assert fields.objects("list", lambda one: one.text("x")) == ["1", None]
    fields.text("missing")
    fields.number("flag")
    fields.choice("a", ("x",), "x")
    assert fields.errors == {
        "m": {"bad": ["Not a valid string."]},
        "list": [{}, {"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]}],
        "missing": ["This field is required."],
        "flag": ["A valid integer is required."],
        "a": ['"1" is not a valid choice.'],
    }


def test_the_catalogue_fits_together() -> None:
    codes = set(catalog.CORE_TYPES_BY_CODE)
    assert len(codes) == len(catalog.CORE_TYPES) > 20
    assert {code for one in catalog.ANALYSES for code in one.core_types} <= codes
    assert {one["coreType"] for one in catalog.prices()} == codes
    assert catalog.CORE_TYPES_BY_CODE["granite"].categories == ("general",)
    assert catalog.is_project("prA")
    assert not catalog.is_project(["prA"])
