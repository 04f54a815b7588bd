# SPDX-License-Identifier: Apache-2.0
"""Elevation models as GeoTIFF: what ``terrain-make-geotiff`` writes and the programs after it read."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine

from terrain_algorithms.georeference import MAX_CELLS, Georeference, footprint
from terrain_algorithms.program import AlgorithmError, ExitCode

EARTH_RADIUS = 6_371_008.8
"""The Earth's mean radius in metres."""

GDAL_OPTIONS = {"GDAL_PAM_ENABLED": "NO", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""Neither write ``.aux.xml`` files beside the products nor look for other files beside the inputs."""

STARTED_TAG = "ACQUISITION_STARTED"
ENDED_TAG = "ACQUISITION_ENDED"


@dataclass(frozen=True)
class ElevationModel:
    """A grid of elevations in metres, first row in the north, with its place on the Earth."""

    elevation: npt.NDArray[np.float64]
    """Metres; NaN where the elevation is not known."""
    west: float
    south: float
    east: float
    north: float
    tags: dict[str, str]

    @property
    def cell_width(self) -> float:
        """Size of a cell from west to east, in degrees."""
        return (self.east - self.west) / int(self.elevation.shape[1])

    @property
    def cell_height(self) -> float:
        """Size of a cell from north to south, in degrees."""
        return (self.north - self.south) / int(self.elevation.shape[0])

    def centre(self, row: int, column: int) -> tuple[float, float]:
        """Give longitude and latitude of a cell's centre."""
        return self.west + (column + 0.5) * self.cell_width, self.north - (row + 0.5) * self.cell_height

    def cell_metres(self) -> tuple[float, float]:
        """Give a cell's width and height in metres, at the model's middle latitude."""
        degree = math.radians(1) * EARTH_RADIUS
        middle = math.radians((self.south + self.north) / 2)
        return self.cell_width * degree * math.cos(middle), self.cell_height * degree

    def geo_metadata(self) -> dict[str, Any]:
        """Give the model's time range (where its tags tell it) and footprint for a results manifest."""
        metadata: dict[str, Any] = {"geo_json": footprint(self.west, self.south, self.east, self.north)}
        for name, tag in (("data_started", STARTED_TAG), ("data_ended", ENDED_TAG)):
            if tag in self.tags:
                metadata[name] = self.tags[tag]
        return metadata


def read_samples(path: Path, place: Georeference) -> npt.NDArray[np.uint16]:
    """Read a scene's image: one band of 16 bit samples.

    Raises:
        AlgorithmError: with exit code 4.
    """
    try:
        with warnings.catch_warnings(), rasterio.Env(**GDAL_OPTIONS):
            # A PNG has no georeference of its own; that is what the table is for.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver="PNG") as image:
                if (image.width, image.height) != (place.columns, place.rows):
                    raise AlgorithmError(
                        ExitCode.BAD_IMAGE,
                        f"{path.name} has {image.width} x {image.height} cells, "
                        f"the georeference says {place.columns} x {place.rows}",
                    )
                if image.dtypes != ("uint16",):
                    raise AlgorithmError(
                        ExitCode.BAD_IMAGE, f"{path.name} must hold one grey channel of 16 bit"
                    )
                samples: npt.NDArray[np.uint16] = image.read(1)
                return samples
    except RasterioError as error:
        raise AlgorithmError(
            ExitCode.BAD_IMAGE, f"{path.name} is not a readable PNG image: {error}"
        ) from error


def write_geotiff(path: Path, samples: npt.NDArray[np.uint16], place: Georeference) -> None:
    """Write the samples as elevations in metres with their place, time and title."""
    elevation = samples.astype(np.int32) + place.elevation_offset
    known = samples != place.nodata
    limits = np.iinfo(np.int16)
    small = not known.any() or (elevation[known].min() > limits.min and elevation[known].max() <= limits.max)
    cell_type = np.int16 if small else np.int32
    nodata = int(np.iinfo(cell_type).min)
    grid = np.where(known, elevation, nodata).astype(cell_type)
    width, height = (place.east - place.west) / place.columns, (place.north - place.south) / place.rows
    transform = Affine(width, 0.0, place.west, 0.0, -height, place.north)
    with (
        rasterio.Env(**GDAL_OPTIONS),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=place.columns,
            height=place.rows,
            count=1,
            dtype=grid.dtype,
            crs="EPSG:4326",
            transform=transform,
            nodata=nodata,
            compress="deflate",
            predictor=2,
        ) as target,
    ):
        target.write(grid, 1)
        target.set_band_unit(1, "metre")
        target.update_tags(
            **{
                "TIFFTAG_IMAGEDESCRIPTION": place.title,
                STARTED_TAG: place.data_started,
                ENDED_TAG: place.data_ended,
            }
        )


def read_elevation_model(path: Path) -> ElevationModel:
    """Read a GeoTIFF of elevations.

    Raises:
        AlgorithmError: with exit code 4 for a file that is no such GeoTIFF, 5 where no elevation is known.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver="GTiff") as source:
            upright = source.transform.b == source.transform.d == 0 and source.transform.e < 0
            if source.crs is None or source.crs.to_epsg() != 4326 or not upright:
                raise AlgorithmError(ExitCode.BAD_IMAGE, f"{path.name} must be a north-up grid in EPSG:4326")
            if source.width * source.height > MAX_CELLS:
                raise AlgorithmError(ExitCode.BAD_IMAGE, f"{path.name} has more than {MAX_CELLS} cells")
            elevation = source.read(1, masked=True).astype(np.float64).filled(np.nan)
            bounds, tags = source.bounds, source.tags()
    except RasterioError as error:
        raise AlgorithmError(ExitCode.BAD_IMAGE, f"{path.name} is not a readable GeoTIFF: {error}") from error
    if not np.isfinite(elevation).any():
        raise AlgorithmError(ExitCode.NO_ELEVATION, f"{path.name} has not a single cell with an elevation")
    return ElevationModel(elevation, bounds.left, bounds.bottom, bounds.right, bounds.top, tags)
