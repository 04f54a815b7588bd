#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the example's input: a zip with a real elevation model and its georeference.

The model shows the Jacksboro fault in Tennessee (US Geological Survey; measured by the Shuttle Radar
Topography Mission in February 2000; public domain). matplotlib brings it along as sample data.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ELEVATION_OFFSET = -500
"""Metres to add to a sample: PNG samples can't be negative, and valleys below the sea can be."""

NODATA = 0
"""The sample that stands for 'not known'; the model has an elevation in every cell."""

# The dates of the radar mission; the model itself names none.
DATA_STARTED = "2000-02-11T00:00:00Z"
DATA_ENDED = "2000-02-22T23:59:59Z"

ZIP_TIME = (2000, 2, 22, 0, 0, 0)
"""The same time for every member, so that the same model always gives the same bytes."""


@dataclass(frozen=True)
class SampleModel:
    """The elevation model: metres, first row in the north; outer edges and cell size in degrees."""

    elevation: npt.NDArray[np.int16]
    west: float
    south: float
    east: float
    north: float
    cell_width: float
    cell_height: float


def load_sample_model() -> SampleModel:
    """Read the model from matplotlib's sample data; no window system and no network is needed."""
    from matplotlib.cbook import get_sample_data

    path = get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)
    with np.load(path) as data:
        # The file's ymin belongs to the first row: it is the northern edge.
        return SampleModel(
            elevation=data["elevation"],
            west=float(data["xmin"]),
            south=float(min(data["ymin"], data["ymax"])),
            east=float(data["xmax"]),
            north=float(max(data["ymin"], data["ymax"])),
            cell_width=float(data["dx"]),
            cell_height=float(data["dy"]),
        )


def elevation_png(model: SampleModel) -> bytes:
    """Encode the elevations as a PNG image with one grey channel of 16 bit."""
    from PIL import Image

    samples = (model.elevation.astype(np.int32) - ELEVATION_OFFSET).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, format="PNG")
    return buffer.getvalue()


def georeference_csv(model: SampleModel) -> bytes:
    """Write the table that says where the image lies, when it was measured and how to read it."""
    rows, columns = model.elevation.shape
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [
            ("field", "value"),
            ("title", "Jacksboro fault, Tennessee"),
            ("crs", "EPSG:4326"),
            ("west", repr(model.west)),
            ("south", repr(model.south)),
            ("east", repr(model.east)),
            ("north", repr(model.north)),
            ("cell_width", repr(model.cell_width)),
            ("cell_height", repr(model.cell_height)),
            ("columns", columns),
            ("rows", rows),
            ("elevation_offset", ELEVATION_OFFSET),
            ("nodata", NODATA),
            ("data_started", DATA_STARTED),
            ("data_ended", DATA_ENDED),
        ]
    )
    return table.getvalue().encode()


def scene_bytes(broken: bool = False) -> bytes:
    """Make the zip: always the same bytes. A broken one ends in the middle, as after a lost transfer."""
    model = load_sample_model()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content, method in (
            ("elevation.png", elevation_png(model), zipfile.ZIP_STORED),
            ("georeference.csv", georeference_csv(model), zipfile.ZIP_DEFLATED),
        ):
            member = zipfile.ZipInfo(name, ZIP_TIME)
            member.compress_type = method
            member.external_attr = 0o644 << 16
            member.create_system = 3
            archive.writestr(member, content)
    content = buffer.getvalue()
    return content[: len(content) // 2] if broken else content


def drop(folder: Path, name: str, content: bytes, transfer_suffix: str = "_tmp") -> Path:
    """Put a file into a watched folder as its watcher expects: under a suffix until it is complete.

    Strike leaves a file alone while its name ends in the suffix, and takes it when it has its own name.
    """
    target = folder / name
    transferring = folder / (name + transfer_suffix)
    with transferring.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    transferring.replace(target)
    return target


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  make_input.py /tmp/jacksboro.zip                 write the zip, to run the algorithms by hand
  make_input.py --drop .demo/incoming              hand it to a Strike process that watches the folder:
                                                   it is written as jacksboro.zip_tmp, then renamed
  make_input.py --drop .demo/incoming --name bad.zip --broken
                                                   a zip that ends in the middle: its recipe fails with
                                                   the error terrain-bad-archive""",
    )
    parser.add_argument("zip", nargs="?", type=Path, metavar="OUT.zip", help="write the zip to this path")
    parser.add_argument("--drop", type=Path, metavar="FOLDER", help="put the zip into this watched folder")
    parser.add_argument("--name", default="jacksboro.zip", help="its file name there (default: %(default)s)")
    parser.add_argument(
        "--transfer-suffix",
        default="_tmp",
        metavar="SUFFIX",
        help="end of its name while it is written, as the Strike process has it (default: %(default)s)",
    )
    parser.add_argument("--broken", action="store_true", help="leave out the second half of the zip")
    options = parser.parse_args()
    if (options.zip is None) == (options.drop is None):
        parser.error("give either OUT.zip or --drop FOLDER")
    if Path(options.name).name != options.name:
        parser.error(f"--name {options.name!r}: a file name without folders")
    if not options.transfer_suffix:
        parser.error("--transfer-suffix must not be empty")
    folder = options.drop if options.drop is not None else options.zip.parent
    if not folder.is_dir():
        parser.error(f"{str(folder)!r} is not a folder; make it first")
    try:
        content = scene_bytes(options.broken)
    except ImportError as error:
        print(f"make_input.py: {error}; install it with: pip install matplotlib", file=sys.stderr)
        return 1
    name = options.name if options.drop is not None else options.zip.name
    target = drop(folder, name, content, options.transfer_suffix)
    print(f"{target}: {len(content)} bytes{', broken' if options.broken else ''}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
