# SPDX-License-Identifier: Apache-2.0
"""The pins hold everything that the package asks for, and name no index."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[3]


def pinned(name: str) -> dict[str, list[Requirement]]:
    """Return the pins of a file by package; one for other Pythons may stand beside another."""
    pins: dict[str, list[Requirement]] = {}
    for line in (CHECKOUT / "requirements" / f"{name}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def asked_for(*extras: str) -> list[Requirement]:
    """Return what setup.cfg asks for."""
    metadata = ConfigParser()
    metadata.read(CHECKOUT / "setup.cfg")
    texts = metadata["options"]["install_requires"].split("\n")
    for extra in extras:
        texts += metadata["options.extras_require"][extra].split("\n")
    return [Requirement(text) for text in texts if text and not text.startswith("scale-airflow[")]


@pytest.mark.parametrize(
    ("name", "extras"),
    [("demo", ("embedded", "examples")), ("test", ("embedded", "examples", "test"))],
)
def test_everything_is_pinned(name: str, extras: tuple[str, ...]) -> None:
    pins = pinned(name)
    for requirement in asked_for(*extras):
        found = pins.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in requirements/{name}.txt: run requirements/compile.sh"
        for pin in found:
            ((operator, version),) = ((each.operator, each.version) for each in pin.specifier)
            assert operator == "=="
            assert requirement.specifier.contains(version), f"{pin} is not {requirement}"


def test_the_demo_s_pins_are_those_of_the_tests() -> None:
    everything = pinned("test")
    for name, pins in pinned("demo").items():
        assert {str(pin.specifier) for pin in pins} <= {str(pin.specifier) for pin in everything[name]}


@pytest.mark.parametrize("name", ["demo", "test"])
def test_no_index_is_named(name: str) -> None:
    text = (CHECKOUT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert "--" not in text
