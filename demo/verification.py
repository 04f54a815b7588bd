# SPDX-License-Identifier: Apache-2.0
"""Compare the products with the elevation model itself: every one there, whole, and right."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from demo.installation import Installation
from demo.pipeline import Product, expected_outputs, products


def faults(installation: Installation, jobs: Collection[int] | None = None) -> list[str]:
    """Return one sentence for each thing that is wrong with the products; none if all is right.

    :param jobs: look only at what these jobs made.
    """
    found = [each for each in products(installation) if jobs is None or each.row["job"]["id"] in jobs]
    return [
        *_missing_or_odd(found),
        *(fault for product in found for fault in _file_faults(installation, product)),
        *_content_faults(found),
    ]


def _missing_or_odd(found: list[Product]) -> Iterator[str]:
    for job_type, media_types in expected_outputs().items():
        there = sorted(p.row["media_type"] for p in found if p.row["job_type"]["name"] == job_type)
        if there != media_types:
            yield f"{job_type} should have made {media_types}, but made {there}."


def _file_faults(installation: Installation, product: Product) -> Iterator[str]:
    name = product.row["file_name"]
    if product.path is None:
        yield f"{name}: there is no such file in the workspace {product.row['workspace']['name']}."
        return
    size = product.path.stat().st_size
    if size != product.row["file_size"]:
        yield f"{name}: the file has {size} bytes, the API says {product.row['file_size']}."
    if not product.row["is_published"]:
        yield f"{name} is not published."
    if product.row["geometry"] is None and product.row["job_type"]["name"] != "statistics":
        yield f"{name} has no geometry."
    url = product.row["url"]
    if url and url.startswith(installation.url):
        answer = installation.client.request("GET", url.removeprefix(installation.url))
        if answer.content != product.path.read_bytes():
            yield f"{name}: {url} gives {answer.status_code} and other bytes than the file has."


def _content_faults(found: list[Product]) -> Iterator[str]:
    checks: dict[tuple[str, str], Callable[[Path, _Model], Iterator[str]]] = {
        ("unpack-scene", "image/png"): _check_image,
        ("make-geotiff", "image/tiff"): _check_geotiff,
        ("detect-points", "application/vnd.geo+json"): _check_summits,
        ("hillshade", "image/png"): _check_picture,
        ("statistics", "application/json"): _check_statistics,
        ("kml-footprint", "application/vnd.google-earth.kml+xml"): _check_footprint,
    }
    model = _Model()
    for product in found:
        check = checks.get((product.row["job_type"]["name"], product.row["media_type"]))
        if check is not None and product.path is not None:
            try:
                wrong = list(check(product.path, model))
            except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
                wrong = [f"it can't be read: {error}"]
            yield from (f"{product.row['file_name']}: {each}" for each in wrong)


class _Model:
    """The elevation model as matplotlib has it."""

    def __init__(self) -> None:
        import numpy as np
        from matplotlib.cbook import get_sample_data

        with np.load(get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)) as data:
            self.elevation = data["elevation"]
            self.west, self.east = float(data["xmin"]), float(data["xmax"])
            # The first row is the northern edge; the file calls that edge ymin.
            self.north, self.south = sorted((float(data["ymin"]), float(data["ymax"])), reverse=True)
            self.cell_width, self.cell_height = float(data["dx"]), float(data["dy"])


def _check_image(path: Path, model: _Model) -> Iterator[str]:
    from PIL import Image

    with Image.open(path) as image:
        if image.size != model.elevation.shape[::-1]:
            yield f"it has {image.size} cells, the model {model.elevation.shape[::-1]}."


def _check_geotiff(path: Path, model: _Model) -> Iterator[str]:
    import numpy as np
    import rasterio

    with rasterio.open(path) as raster:
        if raster.crs.to_epsg() != 4326:
            yield f"it is in {raster.crs}, not in EPSG:4326."
        corners = (model.west, model.south, model.east, model.north)
        if not np.allclose(raster.bounds, corners, rtol=0, atol=1e-9):
            yield f"it covers {tuple(raster.bounds)}, the model {corners}."
        if not np.array_equal(raster.read(1), model.elevation):
            yield "its elevations are not those of the model."


def _check_summits(path: Path, model: _Model) -> Iterator[str]:
    features = json.loads(path.read_text())["features"]
    if len(features) < 10:
        yield f"it has {len(features)} summits; at least ten are wanted."
    highest: Any = max(features, key=lambda feature: feature["properties"]["elevation"])
    if highest["properties"]["elevation"] != model.elevation.max():
        height = highest["properties"]["elevation"]
        yield f"its highest summit has {height} m, the model's {model.elevation.max()} m."
    row, column = divmod(int(model.elevation.argmax()), model.elevation.shape[1])
    longitude = model.west + (column + 0.5) * model.cell_width
    latitude = model.north - (row + 0.5) * model.cell_height
    x, y = highest["geometry"]["coordinates"][:2]
    if abs(x - longitude) > model.cell_width or abs(y - latitude) > model.cell_height:
        yield f"its highest summit is at {x}, {y}; the model's is at {longitude}, {latitude}."


def _check_picture(path: Path, model: _Model) -> Iterator[str]:
    from PIL import Image

    with Image.open(path) as image:
        colours = image.convert("RGB").getcolors(1 << 24) or []
        if len(colours) < 100:
            yield f"it has only {len(colours)} colours."
        if image.width < model.elevation.shape[1]:
            yield f"it is only {image.width} pixels wide."


def _check_statistics(path: Path, model: _Model) -> Iterator[str]:
    figures = json.loads(path.read_text())
    wanted = {
        "cells": model.elevation.size,
        "minimum": float(model.elevation.min()),
        "maximum": float(model.elevation.max()),
        "mean": round(float(model.elevation.mean()), 6),
    }
    for name, value in wanted.items():
        if abs(figures[name] - value) > 1e-6:
            yield f"its {name} is {figures[name]}, the model's {value}."


def _check_footprint(path: Path, model: _Model) -> Iterator[str]:
    text = ElementTree.parse(path).getroot().findtext(".//{*}coordinates") or ""
    corners = {tuple(round(float(part), 6) for part in point.split(",")[:2]) for point in text.split()}
    wanted = {
        (round(x, 6), round(y, 6)) for x in (model.west, model.east) for y in (model.south, model.north)
    }
    if corners != wanted:
        yield f"its corners are {sorted(corners)}, the model's {sorted(wanted)}."
