# SPDX-License-Identifier: Apache-2.0
"""``terrain-hillshade``: an elevation model as a picture, coloured by height and lit from the side."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from terrain_algorithms.elevation import GDAL_OPTIONS, ElevationModel, read_elevation_model
from terrain_algorithms.manifest import write_manifest
from terrain_algorithms.program import ArgumentParser, existing_file, existing_folder, product_name, run

Grid = npt.NDArray[np.float32]

LARGEST_PICTURE = 4_000_000
"""Pixels of the largest picture for which cells are still enlarged."""

EXAGGERATION = 1.6
"""How much steeper the ground is drawn than it is."""

# Height (0 lowest, 1 highest) and colour: valley green over ochre and brown to pale summits.
COLOURS = (
    (0.00, (84, 126, 96)),
    (0.20, (126, 158, 107)),
    (0.40, (187, 190, 130)),
    (0.58, (214, 190, 138)),
    (0.75, (178, 138, 102)),
    (0.90, (146, 110, 92)),
    (1.00, (238, 232, 226)),
)

# The sun, and two weaker lights beside it, so that slopes which run towards the sun show as well.
LIGHTS = ((0.0, 0.62), (-55.0, 0.19), (55.0, 0.19))


def shade(ground: Grid, cell_width: float, cell_height: float, azimuth: float, altitude: float) -> Grid:
    """Say how much light falls on each cell, 0 (none) to 1 (the sun stands over it).

    Args:
        ground: elevations in metres, first row in the north.
        cell_width: metres from west to east.
        cell_height: metres from north to south.
        azimuth: where the light comes from, degrees clockwise from north.
        altitude: its height over the horizon, degrees.
    """
    southward, eastward = np.gradient(ground * np.float32(EXAGGERATION), cell_height, cell_width)
    direction, height = math.radians(azimuth), math.radians(altitude)
    east, north = math.sin(direction) * math.cos(height), math.cos(direction) * math.cos(height)
    # The surface's upward normal is (-dz/deast, -dz/dnorth, 1), and dz/dnorth = -dz/dsouth.
    light = southward * north - eastward * east + math.sin(height)
    lit: Grid = np.clip(light / np.sqrt(1 + eastward**2 + southward**2), 0, 1)
    return lit


def overlay(tint: Grid, relief: Grid) -> npt.NDArray[np.uint8]:
    """Light one colour channel: level ground keeps its colour, shadows deepen it, sun lifts it to white."""
    lit = np.where(relief < 0.5, 2 * relief * tint, 1 - 2 * (1 - relief) * (1 - tint))
    channel: npt.NDArray[np.uint8] = np.clip(255 * (0.8 * lit + 0.2 * tint) + 0.5, 0, 255).astype(np.uint8)
    return channel


def draw(model: ElevationModel, azimuth: float, altitude: float, enlarge: int) -> npt.NDArray[np.uint8]:
    """Draw the picture: bands red, green, blue and opacity; cells without an elevation are transparent."""
    known = np.isfinite(model.elevation)
    ground = np.where(known, model.elevation, np.nanmin(model.elevation)).astype(np.float32)
    # grid_mode keeps the outer edges where they are, so a pixel's place follows from the footprint alone.
    ground = ndimage.zoom(ground, enlarge, order=3, mode="nearest", grid_mode=True)
    cell_width, cell_height = (size / enlarge for size in model.cell_metres())
    relief = np.zeros_like(ground)
    for turn, weight in LIGHTS:
        relief += np.float32(weight) * shade(ground, cell_width, cell_height, azimuth + turn, altitude)
    # Level ground shall come out as 0.5, where overlay changes nothing.
    relief *= np.float32(0.5 / math.sin(math.radians(altitude)))
    low, high = np.percentile(ground, (0.5, 99.9))
    height = np.clip((ground - np.float32(low)) / np.float32(max(high - low, 1.0)), 0, 1)
    bands = np.empty((4, *ground.shape), np.uint8)
    for channel in range(3):
        stops, tints = zip(*((stop, tint[channel] / 255) for stop, tint in COLOURS), strict=True)
        bands[channel] = overlay(np.interp(height, stops, tints).astype(np.float32), np.minimum(relief, 1))
    bands[3] = 255 * np.repeat(np.repeat(known, enlarge, axis=0), enlarge, axis=1)
    return bands


def write_png(path: Path, bands: npt.NDArray[np.uint8]) -> None:
    """Write bands as a PNG picture, without a sidecar file."""
    with warnings.catch_warnings(), rasterio.Env(**GDAL_OPTIONS):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        count, height, width = bands.shape
        options = {"driver": "PNG", "width": width, "height": height, "count": count, "dtype": "uint8"}
        with rasterio.open(path, "w", **options) as target:
            target.write(bands)


def hillshade(image: Path, folder: Path, azimuth: float, altitude: float, enlarge: int) -> None:
    """Write the picture and the manifest into the output folder."""
    model = read_elevation_model(image)
    while enlarge > 1 and model.elevation.size * enlarge**2 > LARGEST_PICTURE:
        enlarge -= 1
    bands = draw(model, azimuth, altitude, enlarge)
    target = folder / product_name(image, "_hillshade.png")
    write_png(target, bands)
    write_manifest(folder, {"picture": target}, model.geo_metadata())
    print(f"drew {target.name}: {bands.shape[2]} x {bands.shape[1]} pixels, {enlarge} to a cell's side")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = ArgumentParser(
        prog="terrain-hillshade",
        description="Draw a GeoTIFF of elevations as a PNG picture with coloured heights and shaded slopes.",
        epilog="exit codes: 4 bad image, 5 no elevation in it, 74 file system",
    )
    parser.add_argument("image", type=existing_file, help="the GeoTIFF")
    parser.add_argument("output_folder", type=existing_folder, help="where the product and the manifest go")
    parser.add_argument(
        "--azimuth",
        type=float,
        default=315.0,
        metavar="DEGREES",
        help="where the light comes from, clockwise from north (default 315, the north-west)",
    )
    parser.add_argument(
        "--altitude",
        type=float,
        default=45.0,
        metavar="DEGREES",
        help="how high the light stands over the horizon, 5 to 85 (default 45)",
    )
    parser.add_argument(
        "--enlarge",
        type=int,
        choices=range(1, 9),
        default=3,
        metavar="N",
        help="pixels along a cell's side, 1 to 8 (default 3; fewer where the picture would be too large)",
    )

    def work(options: argparse.Namespace) -> None:
        if not 5 <= options.altitude <= 85:
            parser.error(f"--altitude {options.altitude}: must be between 5 and 85 degrees")
        if not math.isfinite(options.azimuth):
            parser.error(f"--azimuth {options.azimuth}: must be a number of degrees")
        hillshade(options.image, options.output_folder, options.azimuth, options.altitude, options.enlarge)

    return run(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
