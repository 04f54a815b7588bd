# SPDX-License-Identifier: Apache-2.0
"""What the products of the terrain example must be, worked out from the model and the configuration alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cbook import get_sample_data

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "terrain"


class Model:
    """The elevation model: corners in degrees, elevations in metres."""

    def __init__(self) -> None:
        with np.load(get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)) as data:
            self.elevation = data["elevation"]
            edges = float(data["ymin"]), float(data["ymax"])
            self.west, self.east = float(data["xmin"]), float(data["xmax"])
            self.cell = float(data["dx"]), float(data["dy"])
        self.south, self.north = min(edges), max(edges)

    @property
    def corners(self) -> set[tuple[float, float]]:
        """The corners of the footprint, rounded to a tenth of a metre."""
        return {(round(x, 6), round(y, 6)) for x in (self.west, self.east) for y in (self.south, self.north)}

    @property
    def highest(self) -> tuple[float, float, float]:
        """Longitude, latitude and elevation of the highest cell; the first row is the northern one."""
        row, column = np.unravel_index(self.elevation.argmax(), self.elevation.shape)
        longitude = self.west + (float(column) + 0.5) * self.cell[0]
        latitude = self.north - (float(row) + 0.5) * self.cell[1]
        return longitude, latitude, float(self.elevation.max())


def configuration() -> dict[str, Any]:
    """The example's configuration document."""
    document: dict[str, Any] = json.loads((EXAMPLE / "configuration.json").read_text())
    return document


def parents() -> dict[str, set[str]]:
    """For each job type of the recipe, the job types whose products it takes."""
    jobs = configuration()["recipe_types"][0]["definition"]["jobs"]
    return {job["name"]: {each["name"] for each in job.get("dependencies", [])} for job in jobs}


def source_uuid(workspace: str, path: str) -> str:
    """The identity of a source file: by its place."""
    return hashlib.md5(f"{workspace}{path}".encode()).hexdigest()


def product_uuid(job_type_id: int, file_name: str, input_uuids: list[str]) -> str:
    """The identity of a product: by what made it, from what."""
    return hashlib.md5("".join([str(job_type_id), file_name, *sorted(input_uuids)]).encode()).hexdigest()


def corners_of(wkt: str) -> set[tuple[float, float]]:
    """The corners of a polygon in well-known text, with or without a third coordinate."""
    assert wkt.startswith("POLYGON"), wkt
    points = wkt[wkt.index("((") + 2 : wkt.index("))")].split(",")
    return {(round(float(x), 6), round(float(y), 6)) for x, y, *_ in (point.split() for point in points)}


def point_of(wkt: str) -> tuple[float, float]:
    """The longitude and latitude of a point in well-known text."""
    assert wkt.startswith("POINT"), wkt
    x, y, *_ = wkt[wkt.index("(") + 1 : wkt.index(")")].split()
    return float(x), float(y)
