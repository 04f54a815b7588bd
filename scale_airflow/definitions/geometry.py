# SPDX-License-Identifier: Apache-2.0
"""Footprints of data: GeoJSON to well-known text, with a centre point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from scale_airflow.definitions.faults import Faults, describe, quote, quote_all
from scale_airflow.definitions.json_values import check_values

KIND = "GeoJSON"
_DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_MAX_COORDINATE = 1e12
_TYPES = [*_DEPTHS, "GeometryCollection", "Feature", "FeatureCollection"]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where data is: geometry and centre as well-known text (2D or 3D), and the ``properties``."""

    wkt: str
    center_wkt: str
    properties: Mapping[str, Any] = field(default_factory=dict)


def footprint(geo_json: object) -> Footprint:
    """Return the footprint of a GeoJSON geometry, Feature or FeatureCollection.

    The properties are those of a Feature, or of a FeatureCollection with one feature; for several features
    their properties are merged, the first feature's winning.

    :raises InvalidDocument: every fault found, with pointers into ``geo_json``.
    """
    faults = Faults()
    found = read_footprint(geo_json, faults, "")
    faults.refuse(KIND, geo_json)
    assert found is not None
    return found


def read_footprint(geo_json: object, faults: Faults, place: str) -> Footprint | None:
    """Return the footprint of what stands at ``place``, or None after adding what is wrong with it."""
    own = Faults()
    own.extend(check_values(geo_json), place)
    geometries: list[Mapping[str, Any]] = []
    properties: dict[str, Any] = {}
    if not own:
        _collect(geo_json, place, own, geometries, properties)
    if not own and not geometries:
        own.add(place, "geo-json.no-geometry", "There is no geometry in this GeoJSON.")
    if own:
        faults.extend(own.found)
        return None
    with_heights = all(_has_heights(each) for each in geometries)
    whole = _together(geometries, 3 if with_heights else 2)
    if whole.is_empty:
        faults.add(place, "geo-json.no-geometry", "The geometry has no coordinates.")
        return None
    return Footprint(_wkt(whole), _wkt(_center(whole)), properties)


def _collect(
    value: object, place: str, faults: Faults, geometries: list[Mapping[str, Any]], properties: dict[str, Any]
) -> None:
    """Gather geometries and properties of a GeoJSON object, checking it on the way."""
    if not isinstance(value, dict):
        faults.add(place, "geo-json.type", f"This must be a GeoJSON object, but it is {describe(value)}.")
        return
    kind = value.get("type")
    if kind == "FeatureCollection":
        features = value.get("features")
        if not isinstance(features, list):
            faults.add(place, "geo-json.members", 'A FeatureCollection needs an array "features".')
            return
        for index, feature in enumerate(features):
            here = f"{place}/features/{index}"
            if isinstance(feature, dict) and feature.get("type") == "Feature":
                _collect(feature, here, faults, geometries, properties)
            else:
                faults.add(here, "geo-json.type", 'This must be an object of the type "Feature".')
    elif kind == "Feature":
        own = value.get("properties")
        if isinstance(own, dict):
            for name, member in own.items():
                properties.setdefault(name, member)
        elif own is not None:
            found = describe(own)
            faults.add(
                f"{place}/properties", "geo-json.members", f"Properties must be an object, but are {found}."
            )
        if value.get("geometry") is not None:
            _collect_geometry(value["geometry"], f"{place}/geometry", faults, geometries)
    else:
        _collect_geometry(value, place, faults, geometries)


def _collect_geometry(value: object, place: str, faults: Faults, geometries: list[Mapping[str, Any]]) -> None:
    before = len(faults.found)
    _check_geometry(value, place, faults)
    if len(faults.found) == before and isinstance(value, dict):
        geometries.append(value)


def _check_geometry(value: object, place: str, faults: Faults) -> None:
    if not isinstance(value, dict):
        faults.add(place, "geo-json.type", f"This must be a geometry, but it is {describe(value)}.")
        return
    kind = value.get("type")
    if kind == "GeometryCollection":
        members = value.get("geometries")
        if not isinstance(members, list):
            faults.add(place, "geo-json.members", 'A GeometryCollection needs an array "geometries".')
            return
        for index, member in enumerate(members):
            _check_geometry(member, f"{place}/geometries/{index}", faults)
    elif isinstance(kind, str) and kind in _DEPTHS:
        if "coordinates" not in value:
            faults.add(place, "geo-json.members", f'A {kind} needs "coordinates".')
            return
        _check_coordinates(value["coordinates"], f"{place}/coordinates", _DEPTHS[kind], kind, faults)
    else:
        shown = quote(kind) if isinstance(kind, str) else describe(kind)
        message = f"The type of a GeoJSON object must be one of {quote_all(_TYPES)}, but it is {shown}."
        near = (kind, _TYPES) if isinstance(kind, str) else None
        faults.add(f"{place}/type" if "type" in value else place, "geo-json.type", message, near=near)


def _check_coordinates(value: object, place: str, depth: int, kind: str, faults: Faults) -> None:
    if not isinstance(value, list):
        message = f"This must be an array of coordinates, but it is {describe(value)}."
        faults.add(place, "geo-json.coordinates", message)
        return
    if depth:
        smallest = _smallest(kind, depth)
        if len(value) < smallest:
            message = f"A {kind} needs at least {smallest} positions here, but has {len(value)}."
            faults.add(place, "geo-json.coordinates", message)
        if (
            kind in ("Polygon", "MultiPolygon")
            and depth == 1
            and len(value) >= smallest
            and value[0] != value[-1]
        ):
            faults.add(
                place, "geo-json.coordinates", "The last position of a ring must be the first one again."
            )
        for index, each in enumerate(value):
            _check_coordinates(each, f"{place}/{index}", depth - 1, kind, faults)
        return
    numbers = [each for each in value if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if len(value) < 2 or len(numbers) != len(value):
        message = "A position must be an array of two or three numbers: longitude, latitude and height."
        faults.add(place, "geo-json.coordinates", message)
    elif any(abs(each) > _MAX_COORDINATE for each in numbers):
        message = f"A coordinate may be at most {_MAX_COORDINATE:g}, in degrees or metres."
        faults.add(place, "geo-json.coordinates", message)


def _smallest(kind: str, depth: int) -> int:
    """Return how many items an array of coordinates needs; ``depth`` counts down to 0, a position."""
    if depth == 1 and kind in ("LineString", "MultiLineString"):
        return 2
    if depth == 1 and kind in ("Polygon", "MultiPolygon"):
        return 4
    return 1 if depth == 2 and kind == "MultiPolygon" else 0


def _has_heights(geometry: Mapping[str, Any]) -> bool:
    """Say whether every position has a height."""
    if geometry["type"] == "GeometryCollection":
        return all(_has_heights(each) for each in geometry["geometries"])
    return _are_long(geometry["coordinates"], _DEPTHS[geometry["type"]])


def _are_long(value: Any, depth: int) -> bool:
    return all(_are_long(each, depth - 1) for each in value) if depth else len(value) >= 3


def _shape(geometry: Mapping[str, Any], length: int) -> BaseGeometry:
    """Return a checked geometry with positions of ``length`` numbers."""
    if geometry["type"] == "GeometryCollection":
        return _together(geometry["geometries"], length)
    coordinates = _cut(geometry["coordinates"], _DEPTHS[geometry["type"]], length)
    return shape({"type": geometry["type"], "coordinates": coordinates})


def _together(geometries: Iterable[Mapping[str, Any]], length: int) -> BaseGeometry:
    """Return the one geometry that is not empty, or all such in a collection."""
    # Empty geometries have no dimension, so a collection with them can't be read back from its text.
    shapes = [each for each in (_shape(geometry, length) for geometry in geometries) if not each.is_empty]
    return shapes[0] if len(shapes) == 1 else shapely.GeometryCollection(shapes)


def _cut(value: Any, depth: int, length: int) -> Any:
    return (
        [_cut(each, depth - 1, length) for each in value]
        if depth
        else tuple(float(each) for each in value[:length])
    )


def _center(whole: BaseGeometry) -> BaseGeometry:
    """Return the centroid, with the mean height where there are heights."""
    center = whole.centroid
    if not whole.has_z:
        return center
    heights = shapely.get_coordinates(whole, include_z=True)[:, 2]
    return shapely.Point(center.x, center.y, float(heights.mean()))


def _wkt(geometry: BaseGeometry) -> str:
    return str(shapely.to_wkt(geometry, rounding_precision=-1, output_dimension=3))
