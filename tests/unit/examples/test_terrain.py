# SPDX-License-Identifier: Apache-2.0
"""The terrain example's programs on the real elevation model, run as a job runs them.

What is expected is worked out here from matplotlib's file with numpy, apart from the programs' own code.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "terrain"
SCRIPTS: dict[str, str] = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["scripts"]
CONFIGURATION: dict[str, Any] = json.loads((EXAMPLE / "configuration.json").read_text())
STARTED, ENDED = "2000-02-11T00:00:00Z", "2000-02-22T23:59:59Z"
CELL = 1 / 1200


def run_module(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE), "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run(command: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """Run a program by the module that its entry in pyproject.toml names."""
    module, _, function = SCRIPTS[command].partition(":")
    assert function == "main"
    return run_module(["-m", module, *map(str, arguments)])


def succeed(command: str, *arguments: Path | str) -> str:
    result = run(command, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def make_input(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return run_module([str(EXAMPLE / "make_input.py"), *map(str, arguments)])


@dataclass(frozen=True)
class Truth:
    elevation: npt.NDArray[np.float64]
    west: float
    south: float
    east: float
    north: float

    def centre(self, row: int, column: int) -> tuple[float, float]:
        return self.west + (column + 0.5) * CELL, self.north - (row + 0.5) * CELL

    def ring(self) -> list[list[float]]:
        west, south, east, north = self.west, self.south, self.east, self.north
        return [
            [x, y, 0.0]
            for x, y in [(west, south), (east, south), (east, north), (west, north), (west, south)]
        ]


@pytest.fixture(scope="module")
def truth() -> Truth:
    from matplotlib.cbook import get_sample_data

    with np.load(get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)) as data:
        latitudes = sorted([float(data["ymin"]), float(data["ymax"])])
        return Truth(
            data["elevation"].astype(np.float64),
            float(data["xmin"]),
            latitudes[0],
            float(data["xmax"]),
            latitudes[1],
        )


@dataclass(frozen=True)
class Products:
    zip: Path
    scene: Path
    geotiff: Path
    points: Path
    picture: Path
    footprint: Path
    unpacked_log: str


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Products:
    """Run the recipe's programs one after the other, each with an output folder of its own."""
    root = tmp_path_factory.mktemp("terrain with spaces")
    folders = {name: root / name for name in ("scene", "geotiff", "points", "picture", "footprint")}
    for folder in folders.values():
        folder.mkdir()
    made = make_input(root / "jacksboro.zip")
    assert made.returncode == 0, made.stderr
    scene, geotiff = folders["scene"], folders["geotiff"]
    log = succeed("terrain-unpack-scene", root / "jacksboro.zip", scene)
    succeed("terrain-make-geotiff", scene / "jacksboro.png", scene / "jacksboro.csv", geotiff)
    succeed("terrain-detect-points", geotiff / "jacksboro.tif", folders["points"])
    succeed("terrain-hillshade", geotiff / "jacksboro.tif", folders["picture"])
    succeed("terrain-kml-footprint", root / "jacksboro.zip", folders["footprint"])
    return Products(zip=root / "jacksboro.zip", unpacked_log=log, **folders)


def manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results_manifest.json").read_text(encoding="utf-8"))
    return document


def outputs(folder: Path) -> dict[str, Path]:
    return {entry["name"]: Path(entry["file"]["path"]) for entry in manifest(folder)["output_data"]}


def polygon_of(geo_json: dict[str, Any]) -> list[list[float]]:
    polygon = geo_json["geometry"] if geo_json["type"] == "Feature" else geo_json
    assert polygon["type"] == "Polygon"
    (ring,) = polygon["coordinates"]
    ring_points: list[list[float]] = ring
    return ring_points


# The input


def test_the_input_is_the_same_bytes_every_time(products: Products, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    assert make_input(again).returncode == 0
    assert again.read_bytes() == products.zip.read_bytes()


def test_the_input_appears_under_its_name_only_when_complete(products: Products, tmp_path: Path) -> None:
    assert make_input("--drop", tmp_path, "--name", "scene 1.zip").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["scene 1.zip"]
    assert (tmp_path / "scene 1.zip").read_bytes() == products.zip.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give either OUT.zip or --drop FOLDER"),
        (["--drop", "missing"], "'missing' is not a folder"),
        (["--drop", ".", "--name", "../x.zip"], "without folders"),
        (["--drop", ".", "--transfer-suffix", ""], "must not be empty"),
    ],
)
def test_the_input_script_says_what_it_wants(arguments: list[str], told: str) -> None:
    result = make_input(*arguments)
    assert result.returncode == 2
    assert told in result.stderr


# The products of the real model


def test_unpacking_gives_the_samples_and_the_table(products: Products, truth: Truth) -> None:
    assert outputs(products.scene) == {
        "image": products.scene / "jacksboro.png",
        "georeference": products.scene / "jacksboro.csv",
    }
    from PIL import Image

    with Image.open(products.scene / "jacksboro.png") as image:
        samples = np.asarray(image).astype(np.int64)
    table = dict(csv.reader(io.StringIO((products.scene / "jacksboro.csv").read_text())))
    np.testing.assert_array_equal(samples + int(table["elevation_offset"]), truth.elevation)
    assert "403 x 344" in products.unpacked_log


def test_unpacking_parses_the_zip(products: Products, truth: Truth) -> None:
    (parsed,) = manifest(products.scene)["parse_results"]
    assert parsed["filename"] == "jacksboro.zip"
    assert parsed["data_types"] == ["terrain"]
    metadata = parsed["geo_metadata"]
    assert (metadata["data_started"], metadata["data_ended"]) == (STARTED, ENDED)
    np.testing.assert_allclose(polygon_of(metadata["geo_json"]), truth.ring(), atol=1e-9)
    assert metadata["geo_json"]["properties"]["title"] == "Jacksboro fault, Tennessee"


def test_every_product_has_the_footprint_and_the_time_range(products: Products, truth: Truth) -> None:
    for folder in (products.scene, products.geotiff, products.points, products.picture, products.footprint):
        document = manifest(folder)
        assert document["version"] == "1.1"
        for entry in document["output_data"]:
            metadata = entry["file"]["geo_metadata"]
            assert (metadata["data_started"], metadata["data_ended"]) == (STARTED, ENDED)
            np.testing.assert_allclose(polygon_of(metadata["geo_json"]), truth.ring(), atol=1e-9)
            assert Path(entry["file"]["path"]).is_file()


def test_no_program_leaves_files_that_it_does_not_register(products: Products) -> None:
    for folder in (products.scene, products.geotiff, products.points, products.picture, products.footprint):
        registered = {path.name for path in outputs(folder).values()} | {"results_manifest.json"}
        assert {path.name for path in folder.iterdir()} == registered


def test_the_geotiff_lies_where_the_model_lies(products: Products, truth: Truth) -> None:
    import rasterio

    with rasterio.open(outputs(products.geotiff)["geo_image"]) as image:
        assert image.crs.to_epsg() == 4326
        np.testing.assert_allclose(
            image.bounds, (truth.west, truth.south, truth.east, truth.north), atol=1e-9
        )
        np.testing.assert_allclose(image.res, (CELL, CELL), atol=1e-12)
        assert image.dtypes == ("int16",)
        assert image.units == ("metre",)
        # The first row is the northern edge: the point north-west of every other lies in row 0, column 0.
        assert image.index(truth.west + CELL / 2, truth.north - CELL / 2) == (0, 0)
        np.testing.assert_array_equal(image.read(1), truth.elevation)


def test_the_highest_summit_is_the_models_maximum(products: Products, truth: Truth) -> None:
    collection = json.loads(outputs(products.points)["points"].read_text())
    assert collection["type"] == "FeatureCollection"
    row, column = np.unravel_index(truth.elevation.argmax(), truth.elevation.shape)
    longitude, latitude = truth.centre(int(row), int(column))
    found = collection["features"][0]["geometry"]["coordinates"]
    assert abs(found[0] - longitude) <= CELL
    assert abs(found[1] - latitude) <= CELL
    assert found[2] == truth.elevation.max() == 1076


def test_summits_are_local_maxima_highest_first(products: Products, truth: Truth) -> None:
    features = json.loads(outputs(products.points)["points"].read_text())["features"]
    assert len(features) >= 10
    heights = [feature["geometry"]["coordinates"][2] for feature in features]
    assert heights == sorted(heights, reverse=True)
    assert [feature["properties"]["rank"] for feature in features] == list(range(1, len(features) + 1))
    for feature in features:
        longitude, latitude, height = feature["geometry"]["coordinates"]
        row, column = int((truth.north - latitude) / CELL), int((longitude - truth.west) / CELL)
        around = truth.elevation[max(row - 12, 0) : row + 13, max(column - 12, 0) : column + 13]
        assert truth.elevation[row, column] == height == around.max() == feature["properties"]["elevation"]
        near_edge = min(row, column, 343 - row, 402 - column) < 12
        assert feature["properties"]["on_edge"] == near_edge


def test_no_higher_ground_is_missed_by_the_summits(products: Products, truth: Truth) -> None:
    """Every cell above the tenth summit belongs to a listed one: climbing from it ends there or nearby."""
    features = json.loads(outputs(products.points)["points"].read_text())["features"]
    tops = {(f["properties"]["row"], f["properties"]["column"]) for f in features}
    strict = truth.elevation.copy()
    for row, column in np.argwhere(strict > features[9]["properties"]["elevation"]):
        while True:
            top, left = max(row - 12, 0), max(column - 12, 0)
            around = strict[top : row + 13, left : column + 13]
            if around.max() == strict[row, column]:
                break
            step = np.unravel_index(around.argmax(), around.shape)
            row, column = top + int(step[0]), left + int(step[1])
        assert any(max(abs(row - r), abs(column - c)) <= 1 for r, c in tops)


def test_the_picture_shows_the_whole_model_lit_from_the_north_west(products: Products, truth: Truth) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    picture = outputs(products.picture)["picture"]
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (3 * 403, 3 * 344)
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(picture) as image:
        bands = image.read().astype(np.float64)
    assert bands.shape[0] == 4
    assert (bands[3] == 255).all()
    brightness = bands[:3].mean(axis=0).reshape(344, 3, 403, 3).mean(axis=(1, 3))
    south, east = np.gradient(truth.elevation)
    faces_north_west, faces_south_east = (south > 15) & (east > 15), (south < -15) & (east < -15)
    assert brightness[faces_north_west].mean() > brightness[faces_south_east].mean() + 40
    greens = bands[1] - bands[0]
    low, high = truth.elevation < 350, truth.elevation > 900
    by_cell = greens.reshape(344, 3, 403, 3).mean(axis=(1, 3))
    assert by_cell[low].mean() > 10 > by_cell[high].mean()


def test_the_light_of_the_picture_can_be_turned(products: Products, tmp_path: Path) -> None:
    succeed(
        "terrain-hillshade", "--azimuth=-45", "--enlarge", "1", products.geotiff / "jacksboro.tif", tmp_path
    )
    same = outputs(tmp_path)["picture"].read_bytes()
    succeed(
        "terrain-hillshade", "--azimuth=135", "--enlarge", "1", products.geotiff / "jacksboro.tif", tmp_path
    )
    assert outputs(tmp_path)["picture"].read_bytes() != same


def test_statistics_are_registered_by_a_line_on_standard_output(
    products: Products, truth: Truth, tmp_path: Path
) -> None:
    log = succeed("terrain-statistics", products.geotiff / "jacksboro.tif", tmp_path)
    ((name, path),) = re.findall(r"^ARTIFACT:([^:]*):(.*)$", log, re.MULTILINE)
    assert name == "statistics"
    assert [Path(path)] == list(tmp_path.iterdir())
    figures = json.loads(Path(path).read_text())
    assert (figures["minimum"], figures["maximum"]) == (truth.elevation.min(), truth.elevation.max())
    assert figures["mean"] == pytest.approx(truth.elevation.mean(), abs=1e-5)
    assert figures["standard_deviation"] == pytest.approx(truth.elevation.std(), abs=1e-5)
    assert figures["percentiles"]["50"] == np.median(truth.elevation)
    assert figures["cells"] == 344 * 403 == sum(band["cells"] for band in figures["bands"])
    for band in figures["bands"]:
        inside = (truth.elevation >= band["from"]) & (truth.elevation < band["to"])
        assert band["cells"] == inside.sum()
    # The area of a spherical zone, as a check on the sum of the cells.
    zone = 6371.0088**2 * np.radians(truth.east - truth.west)
    zone *= np.sin(np.radians(truth.north)) - np.sin(np.radians(truth.south))
    assert figures["area_km2"] == pytest.approx(zone, rel=1e-4)


def test_the_kml_outlines_the_scene(products: Products, truth: Truth) -> None:
    kml = "{http://www.opengis.net/kml/2.2}"
    root = ElementTree.parse(outputs(products.footprint)["footprint"]).getroot()
    assert root.tag == f"{kml}kml"
    (coordinates,) = root.iter(f"{kml}coordinates")
    points = [[float(x) for x in point.split(",")] for point in (coordinates.text or "").split()]
    np.testing.assert_allclose(points, truth.ring(), atol=1e-9)
    assert [element.text for element in root.iter(f"{kml}begin")] == [STARTED]


# What is wrong gets its exit code and a message


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def members(products: Products) -> dict[str, bytes]:
    with zipfile.ZipFile(products.zip) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def fail(command: str, *arguments: Path | str) -> tuple[int, str]:
    result = run(command, *arguments)
    assert result.stderr.splitlines()[-1].startswith(f"{command}: ")
    return result.returncode, result.stderr


@pytest.mark.parametrize("command", ["terrain-unpack-scene", "terrain-kml-footprint"])
def test_a_broken_zip_is_a_bad_archive(command: str, tmp_path: Path) -> None:
    assert make_input("--broken", tmp_path / "bad.zip").returncode == 0
    out = tmp_path / "out"
    out.mkdir()
    code, told = fail(command, tmp_path / "bad.zip", out)
    assert code == 2
    assert "bad.zip is not a readable zip" in told
    assert list(out.iterdir()) == []


def test_a_damaged_member_is_a_bad_archive(products: Products, tmp_path: Path) -> None:
    content = bytearray(products.zip.read_bytes())
    content[5000] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(content)
    code, told = fail("terrain-unpack-scene", tmp_path / "bad.zip", tmp_path)
    assert code == 2
    assert "CRC" in told


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:evil.txt"]
)
def test_a_member_that_points_outside_is_refused(
    members: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "scene.zip", {**members, name: b"evil"})
    code, told = fail("terrain-unpack-scene", path, tmp_path)
    assert code == 2
    assert "points outside" in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["scene.zip"]


def test_a_member_that_unpacks_to_too_much_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "scene.zip", {**members, "georeference.csv": b"0" * 70_000})
    code, told = fail("terrain-kml-footprint", path, tmp_path)
    assert code == 2
    assert "unpacks to more than the 65536 bytes" in told


def test_an_archive_with_very_many_members_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "scene.zip", {**members, **{f"{n}.txt": b"" for n in range(100)}})
    assert fail("terrain-unpack-scene", path, tmp_path)[0] == 2


def test_an_archive_without_its_image_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "scene.zip", {"georeference.csv": members["georeference.csv"]})
    code, told = fail("terrain-unpack-scene", path, tmp_path)
    assert code == 2
    assert "must hold 'elevation.png' once" in told


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b"EPSG:4326", b"EPSG:32616", "only EPSG:4326"),
        (b"west,-84.41375", b"west,-84.5", "cell_width: 403 cells"),
        (b"west,-84.41375", b"west,nan", "not a finite number"),
        (b"columns,403", b"columns,many", "columns: 'many'"),
        (b"nodata,0\n", b"", "nodata is missing"),
        (b"T00:00:00Z", b"T00:00:00", "without its zone"),
        (b"data_ended,2000", b"data_ended,1999", "is after the end"),
        (b"rows,344\n", b"rows,344\nrows,344\n", "given more than once: rows"),
        (b"field,value", b"name,value", "must begin with the line 'field,value'"),
        (b"Jacksboro", b"\x01", "can't be shown"),
        (b"Jacksboro", b"\xff", "not a CSV in UTF-8"),
    ],
)
def test_a_wrong_table_is_a_bad_georeference(
    members: dict[str, bytes], before: bytes, after: bytes, told: str, tmp_path: Path
) -> None:
    table = members["georeference.csv"]
    assert before in table
    path = write_zip(tmp_path / "scene.zip", {**members, "georeference.csv": table.replace(before, after)})
    code, message = fail("terrain-unpack-scene", path, tmp_path)
    assert code == 3
    assert told in message


def test_all_faults_of_a_table_are_told_at_once(members: dict[str, bytes], tmp_path: Path) -> None:
    table = members["georeference.csv"].replace(b"nodata,0\n", b"").replace(b"rows,344", b"rows,x")
    path = write_zip(tmp_path / "scene.zip", {**members, "georeference.csv": table})
    _, message = fail("terrain-unpack-scene", path, tmp_path)
    assert "nodata is missing" in message
    assert "rows: 'x'" in message


def test_an_image_of_another_size_or_kind_is_a_bad_image(
    members: dict[str, bytes], products: Products, tmp_path: Path
) -> None:
    from PIL import Image

    table = products.scene / "jacksboro.csv"
    for image, told in (
        (Image.fromarray(np.zeros((344, 403), np.uint8)), "16 bit"),
        (Image.fromarray(np.zeros((10, 10), np.uint16)), "10 x 10"),
    ):
        png = tmp_path / "other.png"
        image.save(png)
        path = write_zip(tmp_path / "scene.zip", {**members, "elevation.png": png.read_bytes()})
        for code, message in (
            fail("terrain-unpack-scene", path, tmp_path),
            fail("terrain-make-geotiff", png, table, tmp_path),
        ):
            assert code == 4
            assert told in message


def test_a_file_that_is_no_image_is_a_bad_image(
    members: dict[str, bytes], products: Products, tmp_path: Path
) -> None:
    """GDAL guesses formats, and some of them name other files; only the one that is meant is opened."""
    disguised = tmp_path / "disguised.png"
    source = products.scene / "jacksboro.png"
    disguised.write_text(
        '<VRTDataset rasterXSize="403" rasterYSize="344"><VRTRasterBand dataType="UInt16" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    assert fail("terrain-make-geotiff", disguised, products.scene / "jacksboro.csv", tmp_path)[0] == 4
    assert fail("terrain-detect-points", disguised, tmp_path)[0] == 4
    path = write_zip(tmp_path / "scene.zip", {**members, "elevation.png": disguised.read_bytes()})
    assert fail("terrain-unpack-scene", path, tmp_path)[0] == 4


def test_a_model_without_elevations_is_told_apart(products: Products, tmp_path: Path) -> None:
    from PIL import Image

    png = tmp_path / "empty.png"
    Image.fromarray(np.zeros((344, 403), np.uint16)).save(png)
    succeed("terrain-make-geotiff", png, products.scene / "jacksboro.csv", tmp_path)
    for command in ("terrain-detect-points", "terrain-hillshade", "terrain-statistics"):
        assert fail(command, tmp_path / "empty.tif", tmp_path)[0] == 5


def test_cells_without_elevation_stay_so_to_the_end(products: Products, truth: Truth, tmp_path: Path) -> None:
    import rasterio
    from PIL import Image
    from rasterio.errors import NotGeoreferencedWarning

    samples = (truth.elevation + 500).astype(np.uint16)
    samples[:100] = 0
    Image.fromarray(samples).save(tmp_path / "holes.png")
    succeed("terrain-make-geotiff", tmp_path / "holes.png", products.scene / "jacksboro.csv", tmp_path)
    log = succeed("terrain-statistics", tmp_path / "holes.tif", tmp_path)
    figures = json.loads(Path(log.split("ARTIFACT:statistics:")[1].strip()).read_text())
    assert figures["cells_without_elevation"] == 100 * 403
    assert figures["minimum"] == truth.elevation[100:].min()
    succeed("terrain-detect-points", tmp_path / "holes.tif", tmp_path)
    features = json.loads(outputs(tmp_path)["points"].read_text())["features"]
    assert all(feature["properties"]["row"] >= 100 for feature in features)
    succeed("terrain-hillshade", "--enlarge=1", tmp_path / "holes.tif", tmp_path)
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(outputs(tmp_path)["picture"]) as image:
        opacity = image.read(4)
    assert (opacity[:100] == 0).all()
    assert (opacity[100:] == 255).all()


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_wrong_arguments_have_a_code_of_their_own(command: str, tmp_path: Path) -> None:
    assert fail(command)[0] == 64
    code, told = fail(command, *[tmp_path / "missing"] * (3 if command == "terrain-make-geotiff" else 2))
    assert code == 64
    assert "is not a file" in told


def test_a_full_or_lost_disk_is_no_fault_of_the_data(products: Products) -> None:
    """procfs takes no files, not even root's: a folder that exists and can't be written to."""
    code, _ = fail("terrain-kml-footprint", products.zip, "/proc/self")
    assert code == 74


# The documents


def job_types() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in CONFIGURATION["job_types"]}


def test_every_job_type_runs_a_program_that_is_installed() -> None:
    commands = {entry["interface"]["command"] for entry in job_types().values()}
    assert commands == set(SCRIPTS)
    for target in SCRIPTS.values():
        assert (EXAMPLE / (target.partition(":")[0].replace(".", "/") + ".py")).is_file()


def test_every_program_registers_the_outputs_of_its_interface(products: Products) -> None:
    folders = {
        "unpack-scene": products.scene,
        "make-geotiff": products.geotiff,
        "detect-points": products.points,
        "hillshade": products.picture,
        "kml-footprint": products.footprint,
    }
    for name, folder in folders.items():
        declared = {output["name"] for output in job_types()[name]["interface"]["output_data"]}
        assert declared == set(outputs(folder)), name


def test_every_exit_code_of_the_programs_has_an_error() -> None:
    own = {error["name"]: error["category"] for error in CONFIGURATION["errors"]}
    for name, entry in job_types().items():
        mapping = entry["error_mapping"]["exit_codes"]
        assert set(mapping.values()) - set(own) == {"filesystem-io"}, name
        told = run(entry["interface"]["command"], "--help").stdout.split("exit codes:")[1]
        assert set(re.findall(r"\d+", told)) == set(mapping) - {"1", "64"}, name


def test_the_recipe_connects_what_exists_with_media_types_that_fit() -> None:
    (recipe,) = CONFIGURATION["recipe_types"]
    inputs = {entry["name"]: entry for entry in recipe["definition"]["input_data"]}
    jobs = {job["name"]: job for job in recipe["definition"]["jobs"]}
    assert list(jobs) == ["unpack-scene", "make-geotiff", "detect-points", "hillshade", "statistics"]
    for job in jobs.values():
        interface = job_types()[job["job_type"]["name"]]["interface"]
        wanted = {entry["name"]: entry for entry in interface["input_data"]}
        given = {
            c["job_input"]: inputs[c["recipe_input"]]["media_types"][0] for c in job.get("recipe_inputs", [])
        }
        for dependency in job.get("dependencies", []):
            parent = job_types()[jobs[dependency["name"]]["job_type"]["name"]]["interface"]
            made = {entry["name"]: entry["media_type"] for entry in parent["output_data"]}
            given.update({c["input"]: made[c["output"]] for c in dependency["connections"]})
        assert set(given) == {name for name, entry in wanted.items() if entry["required"]}
        for name, media_type in given.items():
            assert media_type in wanted[name]["media_types"]


def test_the_set_up_and_the_rules_speak_of_the_same_things() -> None:
    setup = json.loads((EXAMPLE / "setup.json").read_text())
    assert (EXAMPLE / setup["configuration"]).is_file()
    workspaces = {entry["name"] for entry in setup["workspaces"]}
    (strike,) = setup["strikes"]
    (ingested,) = strike["configuration"]["files_to_ingest"]
    assert ingested["workspace_name"] in workspaces
    assert re.match(ingested["filename_regex"], "jacksboro.zip")
    (recipe,) = CONFIGURATION["recipe_types"]
    rules = {
        rule["type"]: rule for rule in (recipe["trigger_rule"], job_types()["kml-footprint"]["trigger_rule"])
    }
    assert set(rules["INGEST"]["configuration"]["condition"]["data_types"]) <= set(ingested["data_types"])
    assert rules["PARSE"]["configuration"]["condition"]["data_types"] == ["terrain"]
    for rule in rules.values():
        assert rule["configuration"]["data"] == {"input_data_name": "scene", "workspace_name": "products"}
