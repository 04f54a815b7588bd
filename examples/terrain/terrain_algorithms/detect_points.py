# SPDX-License-Identifier: Apache-2.0
"""``terrain-detect-points``: the summits of an elevation model as GeoJSON, highest first."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from terrain_algorithms.elevation import ElevationModel, read_elevation_model
from terrain_algorithms.manifest import write_manifest
from terrain_algorithms.program import ArgumentParser, existing_file, existing_folder, product_name, run

WANTED_SUMMITS = 10
LARGEST_RADIUS = 12


@dataclass(frozen=True)
class Summit:
    """A cell that no cell within the radius overtops."""

    row: int
    column: int
    elevation: float
    on_edge: bool
    """Whether the search was cut off by the model's border: the ground may go on rising behind it."""


def find_summits(elevation: npt.NDArray[np.float64], radius: int) -> list[Summit]:
    """Find the cells that are the highest within ``radius`` cells in every direction, highest first.

    Cells of one flat top count as one summit, at the cell nearest to their middle. Plains are no summits:
    there has to be a lower cell in reach.
    """
    size = 2 * radius + 1
    ground = np.where(np.isfinite(elevation), elevation, -np.inf).astype(np.float32)
    is_top = ground == ndimage.maximum_filter(ground, size=size, mode="nearest")
    ground[np.isneginf(ground)] = np.inf
    is_top &= ground > ndimage.minimum_filter(ground, size=size, mode="nearest")
    tops, count = ndimage.label(is_top & np.isfinite(ground), structure=np.ones((3, 3)))
    rows, columns = elevation.shape
    summits = []
    for label, window in enumerate(ndimage.find_objects(tops, max_label=count), start=1):
        cells = np.argwhere(tops[window] == label)
        middle = cells[np.argmin(((cells - cells.mean(axis=0)) ** 2).sum(axis=1))]
        row, column = int(middle[0]) + window[0].start, int(middle[1]) + window[1].start
        on_edge = row < radius or column < radius or row >= rows - radius or column >= columns - radius
        summits.append(Summit(row, column, float(elevation[row, column]), on_edge))
    return sorted(summits, key=lambda summit: (-summit.elevation, summit.row, summit.column))


def summits_of(model: ElevationModel) -> tuple[list[Summit], int]:
    """Find summits with the largest radius that gives ten of them; a small model may have fewer."""
    for radius in range(LARGEST_RADIUS, 0, -1):
        summits = find_summits(model.elevation, radius)
        if len(summits) >= WANTED_SUMMITS:
            break
    return summits, radius


def feature_collection(model: ElevationModel, summits: Sequence[Summit]) -> dict[str, Any]:
    """Describe the summits as GeoJSON points: longitude, latitude, elevation in metres."""
    features = []
    for rank, summit in enumerate(summits, start=1):
        longitude, latitude = model.centre(summit.row, summit.column)
        point = [round(longitude, 9), round(latitude, 9), summit.elevation]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": point},
                "properties": {
                    "rank": rank,
                    "elevation": summit.elevation,
                    "row": summit.row,
                    "column": summit.column,
                    "on_edge": summit.on_edge,
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def detect_points(image: Path, folder: Path) -> None:
    """Write the summits and the manifest into the output folder."""
    model = read_elevation_model(image)
    summits, radius = summits_of(model)
    target = folder / product_name(image, "_summits.geojson")
    target.write_text(json.dumps(feature_collection(model, summits), indent=1) + "\n", encoding="utf-8")
    write_manifest(folder, {"points": target}, model.geo_metadata())
    print(f"found {len(summits)} summits that nothing within {radius} cells overtops")
    for summit in summits[:WANTED_SUMMITS]:
        longitude, latitude = model.centre(summit.row, summit.column)
        print(f"  {summit.elevation:7.0f} m at {latitude:.5f} north, {longitude:.5f} east")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = ArgumentParser(
        prog="terrain-detect-points",
        description="Find the summits of a GeoTIFF of elevations and write them as GeoJSON.",
        epilog="exit codes: 4 bad image, 5 no elevation in it, 74 file system",
    )
    parser.add_argument("image", type=existing_file, help="the GeoTIFF")
    parser.add_argument("output_folder", type=existing_folder, help="where the product and the manifest go")

    def work(options: argparse.Namespace) -> None:
        detect_points(options.image, options.output_folder)

    return run(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
