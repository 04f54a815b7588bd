# SPDX-License-Identifier: Apache-2.0
"""``terrain-kml-footprint``: a scene's outline as KML, to look at in a globe viewer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from terrain_algorithms.georeference import Georeference, footprint
from terrain_algorithms.manifest import write_manifest
from terrain_algorithms.program import ArgumentParser, existing_file, existing_folder, product_name, run
from terrain_algorithms.scene import read_georeference

NAMESPACE = "http://www.opengis.net/kml/2.2"


def footprint_document(name: str, place: Georeference) -> bytes:
    """Make the KML: one placemark with the scene's name, time span and outline."""
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}kml")
    document = _element(root, "Document")
    _element(document, "name", name)
    style = _element(document, "Style")
    style.set("id", "outline")
    line = _element(style, "LineStyle")
    _element(line, "color", "ff2a7fff")
    _element(line, "width", "2")
    _element(_element(style, "PolyStyle"), "fill", "0")
    placemark = _element(document, "Placemark")
    _element(placemark, "name", name)
    _element(placemark, "description", place.title)
    span = _element(placemark, "TimeSpan")
    _element(span, "begin", place.data_started)
    _element(span, "end", place.data_ended)
    _element(placemark, "styleUrl", "#outline")
    polygon = _element(placemark, "Polygon")
    _element(polygon, "tessellate", "1")
    ring = _element(_element(polygon, "outerBoundaryIs"), "LinearRing")
    corners = footprint(place.west, place.south, place.east, place.north)["coordinates"][0]
    _element(ring, "coordinates", " ".join(f"{x!r},{y!r},0" for x, y, _ in corners))
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _element(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{tag}")
    element.text = text
    return element


def kml_footprint(scene: Path, folder: Path) -> None:
    """Write the KML and the manifest into the output folder."""
    place = read_georeference(scene)
    target = folder / product_name(scene, "_footprint.kml")
    target.write_bytes(footprint_document(product_name(scene, ""), place))
    write_manifest(folder, {"footprint": target}, place.geo_metadata())
    print(f"wrote the outline of {scene.name} to {target.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = ArgumentParser(
        prog="terrain-kml-footprint",
        description="Write the outline of a scene (a zip with georeference.csv) as KML.",
        epilog="exit codes: 2 bad archive, 3 bad georeference, 74 file system",
    )
    parser.add_argument("scene", type=existing_file, help="the zip")
    parser.add_argument("output_folder", type=existing_folder, help="where the product and the manifest go")

    def work(options: argparse.Namespace) -> None:
        kml_footprint(options.scene, options.output_folder)

    return run(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
