# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package, and the one way in which they may import each other.

Read off the sources: imports inside functions and for type checking count like those at the top, because
what a room may know is the question, not when it is loaded.
"""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import scale_airflow

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "scale_airflow"

# From the ground up. A room may import those on lower floors, and on its own floor as ON_ONE_FLOOR says.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "config", "crash_points"}),
    frozenset({"definitions"}),
    frozenset({"workspaces"}),
    frozenset({"execution", "hooks", "rescale"}),
    frozenset({"operators", "sensors", "triggers", "timetables"}),
    frozenset({"store", "engine", "compiler"}),
    frozenset({"services"}),
    frozenset({"cli", "api_plugin"}),
    # What Airflow and users import: it names what is below, and is loaded when asked for.
    frozenset({"provider", "face"}),
)
ON_ONE_FLOOR = {
    ("config", "errors"),
    # The agent talks to the API server; the client speaks in the words of execution/order.py.
    ("execution", "hooks"),
    ("hooks", "execution"),
    # The hook is the connection; Rescale's client is below it, and knows nothing of Airflow.
    ("hooks", "rescale"),
    # Rescale is one of the places where jobs run.
    ("execution", "rescale"),
    ("operators", "sensors"),
    ("operators", "triggers"),
    ("sensors", "triggers"),
    # A revision is compiled, then published.
    ("engine", "compiler"),
    # The command line shows and syncs the permissions of the REST API's resources.
    ("cli", "api_plugin"),
    ("face", "provider"),
    ("provider", "face"),
}
# These run where there is no database: on workers, in the triggerer, where DAG files are parsed.
WITHOUT_DATABASE = frozenset(
    {
        "definitions",
        "workspaces",
        "execution",
        "hooks",
        "rescale",
        "operators",
        "sensors",
        "triggers",
        "timetables",
        "compiler",
    }
)
# Of Airflow, what it offers to everybody, and providers build on.
PUBLIC_AIRFLOW = ("airflow.sdk", "airflow.configuration", "airflow.exceptions", "airflow.providers.docker")
# And what single rooms or modules need beyond that. engine/ may import anything.
AIRFLOW_OF: dict[str, tuple[str, ...]] = {
    "api_plugin": ("airflow.api_fastapi", "airflow.plugins_manager", "airflow.providers.fab"),
    "cli": (
        "airflow.cli",
        "airflow.utils.cli",
        "airflow.utils.providers_configuration_loader",
        "airflow.api_fastapi",
    ),
    "compiler.bundle": ("airflow.dag_processing.bundles.base",),
    "store.manager": ("airflow.utils.db_manager",),
    "store.migrations": ("airflow.settings",),
    "store.session": ("airflow.utils.session",),
    "timetables": ("airflow.timetables.base",),
    "triggers": ("airflow.triggers.base",),
}
MOST_LINES = 450


@dataclass(frozen=True)
class Import:
    """One import of one module, and where it stands."""

    importer: str
    imported: str
    place: str
    is_at_the_top: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.importer or 'scale_airflow'} imports {self.imported}"


def module_name(path: Path) -> str:
    """The module's name below ``scale_airflow``; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    return module.partition(".")[0] or "face"


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [imported_module(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            place = f"{path.relative_to(CHECKOUT)}:{node.lineno}"
            yield Import(module, name, place, id(node) in top)


def imported_module(module: str, name: str) -> str:
    """What ``from module import name`` imports: the module ``name`` where it is one."""
    below = f"{module}.{name}".removeprefix("scale_airflow.")
    if module == "airflow" or (module.partition(".")[0] == "scale_airflow" and below in MODULES):
        return f"{module}.{name}"
    return module


IMPORTS = [each for module, path in MODULES.items() for each in imports_of(module, path)]


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def own(name: str) -> str | None:
    """The name below ``scale_airflow`` of one of our modules, else None."""
    if name == "scale_airflow":
        return ""
    return name.removeprefix("scale_airflow.") if name.startswith("scale_airflow.") else None


def test_every_room_has_its_floor() -> None:
    floors = [room for floor in FLOORS for room in floor]
    assert len(floors) == len(set(floors))
    assert {room_of(module) for module in MODULES} == set(floors)


def may_import(room: str, other: str) -> bool:
    floor, other_floor = (
        next(i for i, rooms in enumerate(FLOORS) if each in rooms) for each in (room, other)
    )
    return room == other or other_floor < floor or (room, other) in ON_ONE_FLOOR


def test_imports_go_downwards() -> None:
    wrong = []
    for each in IMPORTS:
        imported = own(each.imported)
        if imported is None or (imported == "" and each.importer != ""):
            continue  # the package itself, for its __version__
        if not may_import(room_of(each.importer), room_of(imported)):
            wrong.append(str(each))
    assert wrong == []


def test_what_runs_on_workers_knows_no_database() -> None:
    wrong = [
        str(each)
        for each in IMPORTS
        if room_of(each.importer) in WITHOUT_DATABASE
        and (
            room_of(own(each.imported) or "face") in ("store", "services", "engine", "api_plugin", "cli")
            or within(each.imported, ("sqlalchemy", "alembic", "psycopg2"))
        )
    ]
    assert wrong == []


def test_definitions_know_neither_airflow_nor_the_database() -> None:
    wrong = [
        str(each)
        for each in IMPORTS
        if room_of(each.importer) == "definitions" and within(each.imported, ("airflow", "sqlalchemy"))
    ]
    assert wrong == []


def test_definitions_load_neither_airflow_nor_the_database() -> None:
    names = [f"scale_airflow.{module}" for module in MODULES if room_of(module) == "definitions"]
    assert _loaded_by(names, "airflow", "sqlalchemy") == set()


def test_the_package_and_its_provider_information_load_no_airflow() -> None:
    """Airflow imports them for every one of its commands."""
    assert _loaded_by(["scale_airflow", "scale_airflow.provider"], "airflow", "sqlalchemy") == set()


def _loaded_by(names: list[str], *unwanted: str) -> set[str]:
    """Import modules in a fresh process; return which of the unwanted packages that has loaded."""
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*({{each.partition('.')[0] for each in sys.modules}} & {set(unwanted)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=CHECKOUT
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_airflows_server_side_is_touched_in_engine_alone() -> None:
    wrong = [
        str(each)
        for each in IMPORTS
        if within(each.imported, ("airflow",))
        and room_of(each.importer) != "engine"
        and not within(each.imported, PUBLIC_AIRFLOW)
        and not any(
            within(each.importer, (holder,)) and within(each.imported, allowed)
            for holder, allowed in AIRFLOW_OF.items()
        )
    ]
    assert wrong == []


def test_every_permission_is_still_used() -> None:
    """An exception that nobody needs any more is a hole."""
    rooms = {
        (room_of(each.importer), room_of(own(each.imported) or "face"))
        for each in IMPORTS
        if own(each.imported) is not None
    }
    assert {pair for pair in ON_ONE_FLOOR if pair not in rooms} == set()
    unused = [
        (holder, prefix)
        for holder, allowed in AIRFLOW_OF.items()
        for prefix in allowed
        if not any(within(each.importer, (holder,)) and within(each.imported, (prefix,)) for each in IMPORTS)
    ]
    assert unused == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for each in IMPORTS:
        imported = own(each.imported)
        # The package itself imports nothing when it is loaded.
        if each.is_at_the_top and imported:
            graph[each.importer].add(imported)
    while True:
        leaves = {module for module, needed in graph.items() if not needed & graph.keys()}
        if not leaves:
            break
        graph = {module: needed for module, needed in graph.items() if module not in leaves}
    assert sorted(graph) == []


def test_every_package_is_in_the_wheel() -> None:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    found = {
        ".".join(("scale_airflow", *path.parent.relative_to(PACKAGE).parts))
        for path in PACKAGE.rglob("__init__.py")
    }
    # The schemas lie at the top of the checkout, under their own name in the package.
    wanted = found | {"scale_airflow.schemas"}
    assert (sorted(wanted - set(listed)), sorted(set(listed) - wanted)) == ([], [])
    without_init = {path.parent for path in PACKAGE.rglob("*.py")} - {
        path.parent for path in PACKAGE.rglob("__init__.py")
    }
    assert without_init == set()


SOURCES = sorted(
    path
    for folder in ("scale_airflow", "schemas", "tests", "benchmarks", "demo", "docs", "examples", "dags")
    for pattern in ("*.py", "*.sh")
    for path in (CHECKOUT / folder).rglob(pattern)
    if not any(part.startswith(".") for part in path.relative_to(CHECKOUT).parts)
)


def test_every_source_begins_with_its_licence() -> None:
    wrong = []
    for path in SOURCES:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first.startswith("#!"):
            first = rest.partition("\n")[0]
        if first != "# SPDX-License-Identifier: Apache-2.0":
            wrong.append(str(path.relative_to(CHECKOUT)))
    assert wrong == []


def test_every_module_says_what_it_is_for() -> None:
    wrong = [
        str(path.relative_to(CHECKOUT))
        for path in MODULES.values()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert wrong == []


def test_modules_are_small() -> None:
    long = {
        str(path.relative_to(CHECKOUT)): count
        for module, path in MODULES.items()
        if not within(module, ("store.migrations.versions",))
        and (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert long == {}


def test_the_public_names_are_these() -> None:
    assert sorted(scale_airflow.__all__) == ["__version__", "get_provider_info", "scale_recipe_dag"]
    for name in scale_airflow.__all__:
        assert getattr(scale_airflow, name)


def test_another_name_is_refused_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'recipe_dag'"):
        scale_airflow.recipe_dag  # noqa: B018
