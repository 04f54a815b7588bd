# SPDX-License-Identifier: Apache-2.0
"""Countries of footprints: whose land they touch, anywhere on the globe."""

from __future__ import annotations

import importlib.metadata
import math
import random

import pytest

from scale_airflow.definitions import countries
from scale_airflow.definitions.countries import countries_of
from scale_airflow.errors import InstallationError


def box(west: float, south: float, east: float, north: float) -> str:
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return f"POLYGON (({', '.join(f'{x} {y}' for x, y in corners)}))"


@pytest.mark.parametrize(
    ("wkt", "expected"),
    [
        pytest.param("POINT (2.35 48.85)", ["FRA"], id="a point on land"),
        pytest.param("POINT Z (2.35 48.85 35)", ["FRA"], id="a point with a height"),
        pytest.param("MULTIPOINT (13.4 52.5, -30 0, 37.6 55.7)", ["DEU", "RUS"], id="points"),
        pytest.param("POINT (-30 0)", [], id="a point in the open sea"),
        pytest.param(box(-25, -5, -15, 5), [], id="the open sea"),
        pytest.param(box(-25, 63, -13, 67), ["ISL"], id="an island"),
        pytest.param(box(-72.0, 17.5, -71.4, 20), ["DOM", "HTI"], id="a border on an island"),
        pytest.param(box(5.9, 50.65, 6.15, 50.85), ["BEL", "DEU", "NLD"], id="where three countries meet"),
        pytest.param(box(12.44, 41.9, 12.46, 41.91), ["ITA", "VAT"], id="a country within a city"),
        pytest.param(box(28, -30, 28.2, -29.5), ["LSO"], id="within a country that another encloses"),
        pytest.param("LINESTRING (-0.1 51.5, 2.35 48.85)", ["FRA", "GBR"], id="a line across the sea"),
        pytest.param(box(166.9, -0.6, 167, -0.4), ["NRU"], id="a small island"),
        pytest.param(box(179.1, -8.6, 179.3, -8.4), ["TUV"], id="an atoll"),
        pytest.param(box(-71.9, 21.3, -71, 21.6), ["TCA"], id="small islands"),
        pytest.param(box(177, -19, 183, -15), ["FJI"], id="longitudes beyond 180"),
        pytest.param(box(-183, -19, -177, -15), ["FJI"], id="longitudes beyond -180"),
        pytest.param(
            "POLYGON ((177 -19, -177 -19, -177 -15, 177 -15, 177 -19))", ["FJI"], id="across the antimeridian"
        ),
        pytest.param(
            f"MULTIPOLYGON (({box(177, -19, 180, -15)[9:-1]}), ({box(-180, -19, -177, -15)[9:-1]}))",
            ["FJI"],
            id="cut at the antimeridian",
        ),
        pytest.param("LINESTRING (170 66, -170 66)", ["RUS"], id="a line across the antimeridian"),
        pytest.param("POINT (180 68)", ["RUS"], id="a point on the antimeridian"),
        pytest.param(
            "POLYGON ((0 -85, 90 -85, 180 -85, -90 -85, 0 -85))", ["ATA"], id="around the south pole"
        ),
        pytest.param("POLYGON ((0 85, 90 85, 180 85, -90 85, 0 85))", [], id="around the north pole"),
        pytest.param(
            "POLYGON ((-20 83, 70 83, 160 83, -110 83, -20 83))", ["CAN", "GRL"], id="around the arctic"
        ),
        pytest.param(box(-180, -90, 180, -70), ["ATA"], id="around the world, to the pole"),
        pytest.param("POINT (0 -90)", ["ATA"], id="the south pole"),
        pytest.param(box(0, 49, 3, 50), ["FRA"], id="part of a country"),
        pytest.param("POLYGON ((5 45, 15 55, 15 45, 5 55, 5 45))", None, id="edges that cross"),
        pytest.param(
            "GEOMETRYCOLLECTION (POINT (-77 38.9), GEOMETRYCOLLECTION (LINESTRING (-99 19, -98 19)))",
            ["MEX", "USA"],
            id="a collection",
        ),
        pytest.param(box(500000, 5000000, 510000, 5010000), [], id="metres"),
        pytest.param("POINT EMPTY", [], id="nothing"),
    ],
)
def test_footprints(wkt: str, expected: list[str] | None) -> None:
    found = countries_of(wkt)
    if expected is None:
        assert {"DEU", "FRA"} <= set(found)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("21.16 42.66", "XKX"),
        ("33.36 35.19", "CYP"),
        ("44.06 9.56", "SOM"),
        ("32.97 34.59", "GBR"),
        ("-52.6 4.5", "GUF"),
        ("-61.7 16.1", "GLP"),
        ("-61.0 14.65", "MTQ"),
        ("55.5 -21.1", "REU"),
        ("45.15 -12.8", "MYT"),
        ("16 78.5", "SJM"),
        ("-8.5 71", "SJM"),
        ("3.4 -54.42", "BVT"),
        ("-68.28 12.2", "BES"),
        ("105.65 -10.49", "CXR"),
        ("25 70", "NOR"),
        ("-62.98 17.49", "BES"),
    ],
)
def test_land_far_from_its_country_has_its_own_code(place: str, code: str) -> None:
    assert countries_of(f"POINT ({place})") == [code]


def test_every_code_is_one_of_iso_3166() -> None:
    known = countries._land().codes
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in known)
    # All 249, and Kosovo's.
    assert len(set(known)) == 250
    assert set(countries._OWN_CODES) < set(known)


def test_an_image_of_the_whole_world_is_not_taken_for_a_strip() -> None:
    assert len(countries_of(box(-179.995, -60, 179.995, 80))) > 200


def test_a_hole_is_not_touched_land() -> None:
    ring = "(175 -19.5, -175 -19.5, -175 -15.5, 175 -15.5, 175 -19.5)"
    hole = "(175.2 -19.4, -175.2 -19.4, -175.2 -15.6, 175.2 -15.6, 175.2 -19.4)"
    assert countries_of(f"POLYGON ({ring})") == ["FJI", "TON"]
    assert countries_of(f"POLYGON ({ring}, {hole})") == ["TON"], "one island of it is within the ring"


@pytest.mark.parametrize("noise", [0.0, 0.1, 60.0])
def test_a_footprint_of_very_many_positions_takes_a_moment(noise: float) -> None:
    chance = random.Random(1)
    turns = [number / 20_000 for number in range(20_000)]
    radii = [10 + chance.uniform(0, noise) for _ in turns]
    ring = [
        f"{10 + radius * math.cos(2 * math.pi * turn)} {math.sin(2 * math.pi * turn) * min(radius, 40) + 45}"
        for turn, radius in zip(turns, radii, strict=True)
    ]
    found = countries_of(f"POLYGON (({', '.join([*ring, ring[0]])}))")
    assert {"DEU", "FRA", "ITA"} <= set(found)
    assert "AUS" not in found


def test_missing_borders_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    countries._land.cache_clear()
    with pytest.raises(InstallationError, match="pip install"):
        countries_of("POINT (0 0)")
