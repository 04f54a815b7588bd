# SPDX-License-Identifier: Apache-2.0
"""The wheel: it holds everything that the package needs at run time, and Airflow finds what it brings."""

from __future__ import annotations

import configparser
import email
import importlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import scale_airflow
from scale_airflow.provider import provider_info

CHECKOUT = Path(__file__).parents[2]
NEEDED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "scale_airflow", "schemas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel as a release builds it, from a copy: nothing lands in the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in NEEDED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    target = tmp_path_factory.mktemp("wheel")
    build = f"import setuptools.build_meta; setuptools.build_meta.build_wheel({str(target)!r})"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (each for each in wheel.namelist() if each.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def files_below(folder: str, *, besides: tuple[str, ...] = ()) -> set[str]:
    """The files of the checkout below a folder, as a wheel names them."""
    return {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in besides
    }


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    """Code, migrations with their templates, pages, the mark that it is typed."""
    wanted = files_below("scale_airflow")
    assert {
        "scale_airflow/py.typed",
        "scale_airflow/store/alembic.ini",
        "scale_airflow/store/migrations/env.py",
        "scale_airflow/store/migrations/script.py.mako",
        "scale_airflow/store/migrations/versions/0001_scale_s_tables.py",
    } <= wanted
    assert wanted - set(wheel.namelist()) == set()


def test_every_schema_is_in_the_wheel_as_package_data(wheel: zipfile.ZipFile) -> None:
    schemas = {f"scale_airflow/{name}" for name in files_below("schemas")}
    assert any(name.endswith(".json") for name in schemas)
    assert schemas - set(wheel.namelist()) == set()


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    others = [
        name
        for name in wheel.namelist()
        if not name.startswith("scale_airflow/") and ".dist-info/" not in name
    ]
    assert others == []


def test_the_licence_and_the_readme_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert wheel.read(licence) == (CHECKOUT / "LICENSE").read_bytes()
    found = email.message_from_string(metadata(wheel, "METADATA"))
    assert found["Name"] == "scale-airflow"
    assert found["Version"] == scale_airflow.__version__
    assert (found["License-Expression"] or found["License"]) == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.10"
    assert "apache-airflow<3.4,>=3.3" in found.get_all("Requires-Dist", [])


def entry_points(wheel: zipfile.ZipFile) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser()
    parser.read_string(metadata(wheel, "entry_points.txt"))
    return {group: dict(parser[group]) for group in parser.sections()}


def test_airflow_finds_the_provider_and_the_plugin(wheel: zipfile.ZipFile) -> None:
    assert entry_points(wheel) == {
        "apache_airflow_provider": {"provider_info": "scale_airflow:get_provider_info"},
        "airflow.plugins": {"scale": "scale_airflow.api_plugin.plugin:ScalePlugin"},
    }


def test_the_provider_entry_point_loads(wheel: zipfile.ZipFile) -> None:
    value = entry_points(wheel)["apache_airflow_provider"]["provider_info"]
    info = EntryPoint("provider_info", value, "apache_airflow_provider").load()()
    assert info == provider_info()
    assert info["package-name"] == "scale-airflow"
    assert info["versions"] == [scale_airflow.__version__]


def named(info: dict[str, Any]) -> Iterator[str]:
    """Every dotted name in the provider information that Airflow will import one day."""
    for kind in ("operators", "sensors", "triggers", "hooks"):
        for each in info[kind]:
            yield from each["python-modules"]
    yield from (each["hook-class-name"] for each in info["connection-types"])
    yield from info["cli"]
    yield from info["db-managers"]


@pytest.mark.parametrize("name", sorted(set(named(provider_info()))))
def test_what_the_provider_information_names_exists(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("kind", ["operators", "sensors", "triggers", "hooks"])
def test_every_face_for_dag_authors_is_in_the_provider_information(kind: str) -> None:
    listed = {name for each in provider_info()[kind] for name in each["python-modules"]}
    base = {
        "operators": "BaseOperator",
        "sensors": "BaseSensorOperator",
        "triggers": "BaseTrigger",
        "hooks": "BaseHook",
    }[kind]
    sdk = importlib.import_module("airflow.triggers.base" if kind == "triggers" else "airflow.sdk")
    faces = set()
    for path in (CHECKOUT / "scale_airflow" / kind).glob("*.py"):
        if path.stem != "__init__":
            module = importlib.import_module(f"scale_airflow.{kind}.{path.stem}")
            classes = [each for each in vars(module).values() if isinstance(each, type)]
            if any(
                issubclass(each, getattr(sdk, base)) and each.__module__ == module.__name__
                for each in classes
            ):
                faces.add(module.__name__)
    assert faces - listed == set()
