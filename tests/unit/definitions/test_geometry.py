# SPDX-License-Identifier: Apache-2.0
"""Footprints: GeoJSON to well-known text."""

from __future__ import annotations

import math
from typing import Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scale_airflow.definitions.geometry import Footprint, footprint
from scale_airflow.errors import InvalidDocument

SQUARE = [[[1.0, 10.0], [3.0, 10.0], [3.0, 20.0], [1.0, 20.0], [1.0, 10.0]]]
HIGH_SQUARE = [
    [[*position, float(height)] for height, position in zip([0, 4, 8, 4, 0], SQUARE[0], strict=True)]
]


def geometry(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": kind, "coordinates": coordinates}


@pytest.mark.parametrize(
    ("geo_json", "wkt", "center"),
    [
        (geometry("Point", [1, 2]), "POINT (1 2)", "POINT (1 2)"),
        (geometry("Point", [1, 2, 3]), "POINT Z (1 2 3)", "POINT Z (1 2 3)"),
        (geometry("Polygon", SQUARE), "POLYGON ((1 10, 3 10, 3 20, 1 20, 1 10))", "POINT (2 15)"),
        (
            geometry("Polygon", HIGH_SQUARE),
            "POLYGON Z ((1 10 0, 3 10 4, 3 20 8, 1 20 4, 1 10 0))",
            "POINT Z (2 15 3.2)",
        ),
        (geometry("LineString", [[0, 0], [2, 0]]), "LINESTRING (0 0, 2 0)", "POINT (1 0)"),
        (geometry("MultiPoint", [[0, 0], [2, 4]]), "MULTIPOINT (0 0, 2 4)", "POINT (1 2)"),
        (
            geometry("MultiLineString", [[[0, 0], [2, 0]], [[0, 2], [2, 2]]]),
            "MULTILINESTRING ((0 0, 2 0), (0 2, 2 2))",
            "POINT (1 1)",
        ),
        (
            geometry("MultiPolygon", [SQUARE]),
            "MULTIPOLYGON (((1 10, 3 10, 3 20, 1 20, 1 10)))",
            "POINT (2 15)",
        ),
        # Positions with and without a height: the heights are dropped.
        (geometry("LineString", [[0, 0, 5], [2, 0]]), "LINESTRING (0 0, 2 0)", "POINT (1 0)"),
        # More than three numbers: only three count.
        (geometry("Point", [1, 2, 3, 4]), "POINT Z (1 2 3)", "POINT Z (1 2 3)"),
        (
            {
                "type": "GeometryCollection",
                "geometries": [geometry("Point", [0, 0]), geometry("Point", [2, 2])],
            },
            "GEOMETRYCOLLECTION (POINT (0 0), POINT (2 2))",
            "POINT (1 1)",
        ),
    ],
)
def test_geometries(geo_json: dict[str, Any], wkt: str, center: str) -> None:
    found = footprint(geo_json)
    assert shapely.from_wkt(found.wkt).equals_exact(shapely.from_wkt(wkt))
    assert found.wkt.split("(")[0] == wkt.split("(")[0]
    assert shapely.from_wkt(found.center_wkt).equals_exact(shapely.from_wkt(center), 1e-9)
    assert found.center_wkt.split("(")[0] == center.split("(")[0]
    assert found.properties == {}


def test_coordinates_keep_every_digit() -> None:
    found = footprint(geometry("Point", [-84.41375000000001, 36.73291666666667]))
    assert found.wkt == "POINT (-84.41375000000001 36.73291666666667)"


def test_a_feature_has_properties() -> None:
    feature = {"type": "Feature", "properties": {"a": 1}, "geometry": geometry("Point", [1, 2])}
    assert footprint(feature) == Footprint("POINT (1 2)", "POINT (1 2)", {"a": 1})
    assert footprint({**feature, "properties": None}).properties == {}


def test_features_are_taken_together() -> None:
    collection = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"a": 1}, "geometry": geometry("Point", [0, 0, 1])},
            {"type": "Feature", "properties": {"a": 2, "b": 3}, "geometry": geometry("Point", [2, 2, 3])},
            {"type": "Feature", "properties": None, "geometry": None},
        ],
    }
    found = footprint(collection)
    assert found.wkt == "GEOMETRYCOLLECTION Z (POINT Z (0 0 1), POINT Z (2 2 3))"
    assert found.center_wkt == "POINT Z (1 1 2)"
    assert found.properties == {"a": 1, "b": 3}


def test_mixed_heights_in_a_collection_are_dropped() -> None:
    points = [geometry("Point", [0, 0, 1]), geometry("Point", [2, 2])]
    found = footprint({"type": "GeometryCollection", "geometries": points})
    assert found.wkt == "GEOMETRYCOLLECTION (POINT (0 0), POINT (2 2))"


def test_empty_parts_are_left_out() -> None:
    parts = [geometry("MultiPoint", []), geometry("Point", [1, 2])]
    assert footprint({"type": "GeometryCollection", "geometries": parts}).wkt == "POINT (1 2)"


@pytest.mark.parametrize(
    ("geo_json", "place", "message"),
    [
        (None, "", "This must be a GeoJSON object, but it is null."),
        ([], "", "This must be a GeoJSON object, but it is an empty array."),
        ({}, "", "The type of a GeoJSON object must be one of"),
        ({"type": "point"}, "/type", 'but it is "point". Did you mean "Point"?'),
        ({"type": 5}, "/type", "but it is the number 5."),
        ({"type": "Point"}, "", 'A Point needs "coordinates".'),
        (geometry("Point", [1]), "/coordinates", "A position must be an array"),
        (geometry("Point", [1, "2"]), "/coordinates", "A position must be an array"),
        (geometry("Point", [1, True]), "/coordinates", "A position must be an array"),
        (geometry("Point", [1, math.nan]), "/coordinates/1", "JSON has no NaN"),
        (geometry("Point", [1e13, 0]), "/coordinates", "A coordinate may be at most 1e+12"),
        (geometry("Point", [10**400, 0]), "/coordinates", "A coordinate may be at most 1e+12"),
        (geometry("Point", {"x": 1}), "/coordinates", "This must be an array of coordinates"),
        (geometry("LineString", [[0, 0]]), "/coordinates", "A LineString needs at least 2 positions here"),
        (geometry("LineString", [[0, 0], 0]), "/coordinates/1", "This must be an array of coordinates"),
        (geometry("Polygon", [[[0, 0], [1, 1], [0, 0]]]), "/coordinates/0", "A Polygon needs at least 4"),
        (
            geometry("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 1]]]),
            "/coordinates/0",
            "The last position of a ring",
        ),
        (geometry("MultiPolygon", [[]]), "/coordinates/0", "A MultiPolygon needs at least 1"),
        (geometry("MultiPoint", []), "", "The geometry has no coordinates."),
        (geometry("Polygon", []), "", "The geometry has no coordinates."),
        ({"type": "GeometryCollection"}, "", 'A GeometryCollection needs an array "geometries".'),
        ({"type": "GeometryCollection", "geometries": [5]}, "/geometries/0", "This must be a geometry"),
        ({"type": "Feature"}, "", "There is no geometry in this GeoJSON."),
        ({"type": "Feature", "geometry": 5}, "/geometry", "This must be a geometry, but it is the number 5."),
        (
            {"type": "Feature", "geometry": geometry("Point", [1, 2]), "properties": []},
            "/properties",
            "Properties must be an object, but are an empty array.",
        ),
        ({"type": "FeatureCollection", "features": {}}, "", 'A FeatureCollection needs an array "features".'),
        ({"type": "FeatureCollection", "features": [geometry("Point", [1, 2])]}, "/features/0", '"Feature"'),
    ],
)
def test_what_is_no_geo_json(geo_json: object, place: str, message: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        footprint(geo_json)
    assert [fault.path for fault in caught.value.faults] == [place]
    assert message in caught.value.faults[0].message


def test_every_fault_is_told() -> None:
    points = [geometry("Point", [1]), geometry("Pont", [1, 2]), geometry("Point", [1, 2])]
    with pytest.raises(InvalidDocument) as caught:
        footprint({"type": "GeometryCollection", "geometries": points})
    assert [fault.path for fault in caught.value.faults] == [
        "/geometries/0/coordinates",
        "/geometries/1/type",
    ]


numbers = st.one_of(st.floats(-1e12, 1e12), st.integers(-180, 180))
positions = st.lists(numbers, min_size=2, max_size=4)
rings = st.lists(positions, min_size=3, max_size=6).map(lambda ring: [*ring, ring[0]])
simple = st.one_of(
    st.builds(geometry, st.just("Point"), positions),
    st.builds(geometry, st.just("MultiPoint"), st.lists(positions, max_size=3)),
    st.builds(geometry, st.just("LineString"), st.lists(positions, min_size=2, max_size=4)),
    st.builds(geometry, st.just("Polygon"), st.lists(rings, max_size=2)),
    st.builds(
        geometry, st.just("MultiPolygon"), st.lists(st.lists(rings, min_size=1, max_size=2), max_size=2)
    ),
)
geometries = st.recursive(
    simple,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("GeometryCollection"), "geometries": st.lists(inner, max_size=3)}
    ),
    max_leaves=4,
)
features = st.fixed_dictionaries(
    {"type": st.just("Feature"), "geometry": st.one_of(st.none(), geometries), "properties": st.none()}
)
collections = st.fixed_dictionaries(
    {"type": st.just("FeatureCollection"), "features": st.lists(features, max_size=3)}
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(geometries, features, collections))
def test_valid_geo_json_becomes_text_that_reads_back(geo_json: dict[str, Any]) -> None:
    try:
        found = footprint(geo_json)
    except InvalidDocument as error:
        assert {fault.rule for fault in error.faults} == {"geo-json.no-geometry"}  # noqa: PT017
        return
    whole, center = shapely.from_wkt(found.wkt), shapely.from_wkt(found.center_wkt)
    assert not whole.is_empty
    assert whole.has_z == center.has_z
    assert math.isfinite(center.x)
    assert math.isfinite(center.y)
