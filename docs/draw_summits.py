# SPDX-License-Identifier: Apache-2.0
"""Draw the picture of the README: the example's hillshade with the summits that detect-points found.

``python -m docs.draw_summits HILLSHADE.png MODEL.tif SUMMITS.geojson OUT.png``, all products of the demo.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

LABELLED = 6


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, text in (
        ("hillshade", "the product of the job hillshade (PNG)"),
        ("geotiff", "the product of the job make-geotiff, which says where the picture lies"),
        ("summits", "the product of the job detect-points (GeoJSON)"),
        ("picture", "the picture to write (PNG)"),
    ):
        parser.add_argument(name, type=Path, help=text)
    arguments = parser.parse_args()
    draw(arguments.hillshade, arguments.geotiff, arguments.summits, arguments.picture)


def draw(hillshade: Path, geotiff: Path, summits: Path, picture: Path) -> None:
    """Draw the summits at their places over the hillshade, whose corners are the GeoTIFF's."""
    import matplotlib
    import rasterio

    matplotlib.use("Agg")
    from matplotlib import image, pyplot

    collection = json.loads(summits.read_text())
    with rasterio.open(geotiff) as model:
        west, south, east, north = model.bounds
    points = sorted(
        (feature["geometry"]["coordinates"] for feature in collection["features"]),
        key=lambda point: -point[2],
    )
    figure, axes = pyplot.subplots(figsize=(8, 6.8), dpi=110, layout="constrained")
    axes.imshow(image.imread(hillshade), extent=(west, east, south, north), aspect=1.25)
    axes.scatter(
        [point[0] for point in points],
        [point[1] for point in points],
        s=14,
        marker="^",
        color="#b3261e",
        edgecolors="white",
        linewidths=0.4,
    )
    for longitude, latitude, elevation in points[:LABELLED]:
        axes.annotate(
            f"{elevation:.0f} m",
            (longitude, latitude),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
            fontweight="bold",
            color="#3b0a07",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
        )
    axes.set_xlabel("longitude (degrees)")
    axes.set_ylabel("latitude (degrees)")
    axes.set_title("Jacksboro fault: hillshade and summits")
    figure.savefig(picture)


if __name__ == "__main__":
    main()
