# SPDX-License-Identifier: Apache-2.0
"""``terrain-unpack-scene``: a scene's zip becomes its image and its georeference, and the zip is parsed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from terrain_algorithms.manifest import write_manifest
from terrain_algorithms.program import ArgumentParser, existing_file, existing_folder, product_name, run
from terrain_algorithms.scene import read_scene

DATA_TYPE = "terrain"
"""The data type that parsing adds to the zip; PARSE trigger rules ask for it."""


def unpack_scene(scene: Path, folder: Path) -> None:
    """Write the scene's two files, and what the zip is about, into the output folder."""
    content = read_scene(scene)
    image = folder / product_name(scene, ".png")
    image.write_bytes(content.image)
    table = folder / product_name(scene, ".csv")
    table.write_bytes(content.table)
    place = content.georeference
    properties = {"title": place.title, "columns": place.columns, "rows": place.rows}
    write_manifest(
        folder,
        {"image": image, "georeference": table},
        place.geo_metadata(),
        parsed={
            "filename": scene.name,
            "data_types": [DATA_TYPE],
            "geo_metadata": place.geo_metadata(**properties),
        },
    )
    print(f"unpacked {scene.name}: {place.columns} x {place.rows} cells, {place.title or 'no title'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = ArgumentParser(
        prog="terrain-unpack-scene",
        description="Unpack a scene: a zip with elevation.png and georeference.csv.",
        epilog="exit codes: 2 bad archive, 3 bad georeference, 4 bad image, 74 file system",
    )
    parser.add_argument("scene", type=existing_file, help="the zip")
    parser.add_argument("output_folder", type=existing_folder, help="where the products and the manifest go")

    def work(options: argparse.Namespace) -> None:
        unpack_scene(options.scene, options.output_folder)

    return run(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
