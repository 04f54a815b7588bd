# SPDX-License-Identifier: Apache-2.0
"""``terrain-statistics``: figures about an elevation model, registered by an ``ARTIFACT:`` line.

The shorter way of the specification: no manifest, one line on standard output for each product.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from terrain_algorithms.elevation import ElevationModel, read_elevation_model
from terrain_algorithms.program import ArgumentParser, existing_file, existing_folder, product_name, run

PERCENTILES = (5, 25, 50, 75, 95)
BAND_HEIGHT = 100
"""Metres of elevation in one band of the histogram."""


def describe(model: ElevationModel) -> dict[str, Any]:
    """Work out the figures: elevations in metres, areas in square kilometres."""
    known = model.elevation[np.isfinite(model.elevation)]
    width, height = model.cell_metres()
    cell_area = width * height / 1e6
    first = int(np.floor(known.min() / BAND_HEIGHT))
    counts = np.bincount((np.floor(known / BAND_HEIGHT) - first).astype(np.int64))
    return {
        "unit": "metre",
        "cells": int(model.elevation.size),
        "cells_without_elevation": int(model.elevation.size - known.size),
        "minimum": float(known.min()),
        "maximum": float(known.max()),
        "mean": round(float(known.mean()), 6),
        "standard_deviation": round(float(known.std()), 6),
        "percentiles": {str(p): float(np.percentile(known, p)) for p in PERCENTILES},
        "area_km2": round(cell_area * known.size, 6),
        "bands": [
            {
                "from": (first + index) * BAND_HEIGHT,
                "to": (first + index + 1) * BAND_HEIGHT,
                "cells": int(count),
                "area_km2": round(cell_area * int(count), 6),
            }
            for index, count in enumerate(counts)
        ],
    }


def write_statistics(image: Path, folder: Path) -> None:
    """Write the figures into the output folder and register the file on standard output."""
    figures = describe(read_elevation_model(image))
    target = folder / product_name(image, "_statistics.json")
    target.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"elevations from {figures['minimum']:.0f} to {figures['maximum']:.0f} m")
    print(f"ARTIFACT:statistics:{target}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = ArgumentParser(
        prog="terrain-statistics",
        description="Work out figures about a GeoTIFF of elevations and write them as JSON.",
        epilog="exit codes: 4 bad image, 5 no elevation in it, 74 file system",
    )
    parser.add_argument("image", type=existing_file, help="the GeoTIFF")
    parser.add_argument("output_folder", type=existing_folder, help="where the product goes")

    def work(options: argparse.Namespace) -> None:
        write_statistics(options.image, options.output_folder)

    return run(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
