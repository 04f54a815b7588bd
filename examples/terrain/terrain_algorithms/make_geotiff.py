# SPDX-License-Identifier: Apache-2.0
"""``terrain-make-geotiff``: an image and its georeference become one GeoTIFF of elevations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from terrain_algorithms.elevation import read_samples, write_geotiff
from terrain_algorithms.georeference import parse_georeference
from terrain_algorithms.manifest import write_manifest
from terrain_algorithms.program import ArgumentParser, existing_file, existing_folder, product_name, run


def make_geotiff(image: Path, table: Path, folder: Path) -> None:
    """Write the GeoTIFF and the manifest into the output folder."""
    place = parse_georeference(table.read_bytes())
    samples = read_samples(image, place)
    target = folder / product_name(image, ".tif")
    write_geotiff(target, samples, place)
    write_manifest(folder, {"geo_image": target}, place.geo_metadata())
    print(f"wrote {target.name}: {place.west} to {place.east} east, {place.south} to {place.north} north")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = ArgumentParser(
        prog="terrain-make-geotiff",
        description="Join an elevation image and its georeference to a GeoTIFF in EPSG:4326.",
        epilog="exit codes: 3 bad georeference, 4 bad image, 74 file system",
    )
    parser.add_argument("image", type=existing_file, help="the 16 bit PNG")
    parser.add_argument("georeference", type=existing_file, help="the CSV that says where it lies")
    parser.add_argument("output_folder", type=existing_folder, help="where the product and the manifest go")

    def work(options: argparse.Namespace) -> None:
        make_geotiff(options.image, options.georeference, options.output_folder)

    return run(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
