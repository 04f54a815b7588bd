# SPDX-License-Identifier: Apache-2.0
"""The file ``georeference.csv`` of a scene: where its image lies on the Earth and how to read its samples.

The table has two columns, ``field`` and ``value``. All fields but ``title`` are needed:

===================  ==============================================================================
field                value
===================  ==============================================================================
title                what the scene shows, for people
crs                  ``EPSG:4326``: longitude and latitude in degrees, the only system known here
west, south          the outer edges of the image (not the centres of its border cells), in degrees
east, north          the same; the first row of the image is the northernmost
cell_width           size of one cell from west to east, in degrees
cell_height          size of one cell from north to south, in degrees
columns, rows        size of the image in cells
elevation_offset     whole metres to add to a sample to get the elevation
nodata               the sample of cells whose elevation is not known
data_started         begin of the time in which the elevations were measured, ISO 8601 with a time zone
data_ended           end of that time
===================  ==============================================================================
"""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from terrain_algorithms.program import AlgorithmError, ExitCode

MAX_CELLS = 8_000_000
"""The largest image, in cells: what the memory of the job types in ``configuration.json`` is made for."""

GRID_TOLERANCE = 1e-3
"""How far (in cells) the corners may lie from a whole number of cells."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Georeference:
    """Where a scene lies, when it was measured and how its samples become metres."""

    title: str
    west: float
    south: float
    east: float
    north: float
    cell_width: float
    cell_height: float
    columns: int
    rows: int
    elevation_offset: int
    nodata: int
    data_started: str
    data_ended: str

    def geo_metadata(self, **properties: Any) -> dict[str, Any]:
        """Give the scene's time range and footprint as a results manifest wants them.

        With properties the footprint is a GeoJSON Feature that carries them, else a bare Polygon.
        """
        polygon = footprint(self.west, self.south, self.east, self.north)
        geo_json: dict[str, Any] = polygon
        if properties:
            geo_json = {"type": "Feature", "geometry": polygon, "properties": properties}
        return {"data_started": self.data_started, "data_ended": self.data_ended, "geo_json": geo_json}


def footprint(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """Make the GeoJSON Polygon of an extent, with a third coordinate (0 metres) as the manifest asks."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return {"type": "Polygon", "coordinates": [[[x, y, 0.0] for x, y in corners]]}


def parse_georeference(content: bytes) -> Georeference:
    """Read the table and check that its fields fit together.

    Raises:
        AlgorithmError: with exit code 3 and every fault at once.
    """
    table = _read_table(content)
    reader = _FieldReader(table)
    crs = reader.take("crs", str)
    reader.check("crs", crs in (None, "EPSG:4326"), f"{crs!r}: only EPSG:4326 is known here")
    west, east = reader.take("west", _number), reader.take("east", _number)
    south, north = reader.take("south", _number), reader.take("north", _number)
    cell_width, cell_height = reader.take("cell_width", _number), reader.take("cell_height", _number)
    columns, rows = reader.take("columns", int), reader.take("rows", int)
    offset, nodata = reader.take("elevation_offset", int), reader.take("nodata", int)
    started, ended = reader.take("data_started", _moment), reader.take("data_ended", _moment)
    title = table.get("title", "")
    reader.check("title", title.isprintable(), f"{title!r}: has characters that can't be shown")
    if not reader.faults:
        reader.check("west, east", -180 <= west < east <= 180, f"{west}, {east}: -180 <= west < east <= 180")
        reader.check(
            "south, north", -90 <= south < north <= 90, f"{south}, {north}: -90 <= south < north <= 90"
        )
        reader.check("columns, rows", columns > 0 and rows > 0, f"{columns}, {rows}: both must be above 0")
        reader.check("columns, rows", columns * rows <= MAX_CELLS, f"more than {MAX_CELLS} cells")
        reader.check("nodata", 0 <= nodata <= 65535, f"{nodata}: not a 16 bit sample")
        reader.check("elevation_offset", abs(offset) <= 100_000, f"{offset}: not an offset on this Earth")
        reader.check("data_started, data_ended", started <= ended, f"{started.isoformat()} is after the end")
        for name, extent, cell, count in (
            ("cell_width", east - west, cell_width, columns),
            ("cell_height", north - south, cell_height, rows),
        ):
            fits = cell > 0 and abs(extent / cell - count) < GRID_TOLERANCE
            reader.check(
                name, fits, f"{count} cells of {cell} degrees don't fill the {extent} between the edges"
            )
    if reader.faults:
        raise AlgorithmError(
            ExitCode.BAD_GEOREFERENCE, "the georeference is wrong: " + "; ".join(reader.faults)
        )
    return Georeference(
        title=title,
        west=west,
        south=south,
        east=east,
        north=north,
        cell_width=cell_width,
        cell_height=cell_height,
        columns=columns,
        rows=rows,
        elevation_offset=offset,
        nodata=nodata,
        data_started=_timestamp(started),
        data_ended=_timestamp(ended),
    )


class _FieldReader:
    """Takes fields out of the table and gathers what is wrong with them."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table
        self.faults: list[str] = []

    def take(self, name: str, convert: Callable[[str], _Value]) -> Any:
        """Give a field's value, or None and a fault."""
        text = self._table.get(name, "")
        if not text:
            self.faults.append(f"{name} is missing")
            return None
        try:
            return convert(text)
        except ValueError as error:
            self.faults.append(f"{name}: {text!r} ({error})")
            return None

    def check(self, name: str, holds: bool, fault: str) -> None:
        """Add a fault unless a condition holds."""
        if not holds:
            self.faults.append(f"{name}: {fault}")


def _read_table(content: bytes) -> dict[str, str]:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise AlgorithmError(
            ExitCode.BAD_GEOREFERENCE, f"the georeference is not a CSV in UTF-8: {error}"
        ) from error
    rows = [[cell.strip() for cell in row] for row in rows if row]
    if not rows or rows[0] != ["field", "value"]:
        raise AlgorithmError(
            ExitCode.BAD_GEOREFERENCE, "the georeference must begin with the line 'field,value'"
        )
    if wrong := [row for row in rows if len(row) != 2]:
        raise AlgorithmError(ExitCode.BAD_GEOREFERENCE, f"not a field and a value: {wrong[0]!r}")
    names = [row[0] for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise AlgorithmError(ExitCode.BAD_GEOREFERENCE, f"given more than once: {', '.join(twice)}")
    return dict(rows[1:])


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _moment(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


def _timestamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
