# SPDX-License-Identifier: Apache-2.0
"""Footprints of data: GeoJSON to well-known text, with a centre point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from scale_airflow.definitions.documents import check_values
from scale_airflow.definitions.faults import Faults, describe, quote, quote_all

KIND = "GeoJSON"
_DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
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
    try:
        shapes = [_shape(each) for each in geometries]
        whole = shapes[0] if len(shapes) == 1 else shapely.GeometryCollection(shapes)
        if whole.is_empty:
            faults.add(place, "geo-json.no-geometry", "The geometry has no coordinates.")
            return None
        return Footprint(_wkt(whole), _wkt(_center(whole)), properties)
    except (shapely.errors.ShapelyError, ValueError, TypeError) as error:
        faults.add(place, "geo-json.geometry", f"The geometry can't be read: {error}.")
        return None


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
            message = f"A {kind} needs at least {smallest} positions here, but there are {len(value)}."
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
    elif any(abs(each) > 1e300 for each in numbers):
        faults.add(place, "geo-json.coordinates", "A coordinate is too large to be used.")


def _smallest(kind: str, depth: int) -> int:
    if depth == 1 and kind in ("LineString", "MultiLineString"):
        return 2
    return 4 if depth == 1 and kind in ("Polygon", "MultiPolygon") else 0


def _shape(geometry: Mapping[str, Any]) -> BaseGeometry:
    from shapely.geometry import shape

    return shape(_trimmed(geometry))


def _trimmed(geometry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the geometry with positions of equal length: three numbers if all have a height, else two."""
    if geometry["type"] == "GeometryCollection":
        return {
            "type": "GeometryCollection",
            "geometries": [_trimmed(each) for each in geometry["geometries"]],
        }
    depth = _DEPTHS[geometry["type"]]
    length = 3 if _all_have_height(geometry["coordinates"], depth) else 2
    return {"type": geometry["type"], "coordinates": _cut(geometry["coordinates"], depth, length)}


def _all_have_height(value: Any, depth: int) -> bool:
    return all(_all_have_height(each, depth - 1) for each in value) if depth else len(value) >= 3


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
    heights = [z for _, _, z in shapely.get_coordinates(whole, include_z=True).tolist() if z == z]
    return shapely.Point(center.x, center.y, sum(heights) / len(heights)) if heights else center


def _wkt(geometry: BaseGeometry) -> str:
    return str(shapely.to_wkt(geometry, rounding_precision=-1, output_dimension=3))
