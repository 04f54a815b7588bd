# SPDX-License-Identifier: Apache-2.0
"""What the documentation says by hand: its links lead somewhere, its examples are valid, its names exist."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.cli import rescale_commands
from scale_airflow.cli.commands import get_commands
from scale_airflow.cli.documents import parser
from scale_airflow.config import OPTIONS
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration

CHECKOUT = Path(__file__).parents[3]
PAGES = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(CHECKOUT / "docs").rglob("*.md"),
        *(CHECKOUT / "examples").rglob("*.md"),
    ]
)
BY_HAND = [page for page in PAGES if page.parent.name != "reference"]
GUIDES = [page for page in BY_HAND if page.is_relative_to(CHECKOUT / "docs")]

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]+)")
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```\n(?:<!-- (?P<what>[^>]+) -->)?", re.M | re.S
)


def shown(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    broken = [link for link in LINK.findall(text_of(page)) if not (page.parent / link).exists()]
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    docs = CHECKOUT / "docs"
    reached: set[Path] = set()
    waiting = [docs / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            found = [(page.parent / link).resolve() for link in LINK.findall(text_of(page))]
            waiting += [each for each in found if each.suffix == ".md"]
    assert set(docs.rglob("*.md")) - reached == set()


def examples() -> list[tuple[str, str, str]]:
    """Language, text and note of every example that says what it is."""
    return [
        (f"{shown(page)}:{text_of(page)[: match.start()].count(chr(10)) + 1}", match["text"], match["what"])
        for page in PAGES
        for match in BLOCK.finditer(text_of(page))
        if match["what"]
    ]


@pytest.mark.parametrize(("place", "text", "what"), examples(), ids=[place for place, *_ in examples()])
def test_examples_are_what_they_say(place: str, text: str, what: str) -> None:
    kind, _, of = what.partition(": ")
    if kind == "checked as":
        document = json.loads(text)
        if of == "job-type-configuration":
            JobTypeConfiguration.parse(document)
        else:
            parser(of)(document)
    elif kind == "quotes":
        assert text in text_of(CHECKOUT / of)
    else:
        assert what == "runs as Python"
        exec(compile(text, place, "exec"), {})


@pytest.mark.parametrize("page", GUIDES, ids=shown)
def test_every_json_example_says_what_it_is(page: Path) -> None:
    unsaid = [
        match["text"][:60]
        for match in BLOCK.finditer(text_of(page))
        if match["language"] in ("json", "python") and not match["what"]
    ]
    assert unsaid == []


@pytest.mark.parametrize("page", BY_HAND, ids=shown)
def test_options_and_commands_exist(page: Path) -> None:
    text = re.sub(r"\s+", " ", text_of(page))
    options = set(re.findall(r"\[scale\] ([a-z_]+)\b", text)) - set(OPTIONS)
    (group,) = get_commands()
    commands = {command.name for command in group.subcommands}
    named = set(re.findall(r"airflow scale ([a-z][a-z-]*)", text)) - commands
    rescale: Any = rescale_commands.get_commands()[0]
    known = {command.name for command in rescale.subcommands}
    unknown = set(re.findall(r"airflow rescale ([a-z][a-z-]*)", text)) - known
    assert (options, named, unknown) == (set(), set(), set())


def test_every_dependency_is_explained() -> None:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    needed = {
        re.split(r"[<>=\[ ]", line)[0]
        for line in setup["options"]["install_requires"].splitlines()
        if line.strip()
    }
    explained = set(re.findall(r"^\| ([a-z0-9-]+)", text_of(CHECKOUT / "docs" / "dependencies.md"), re.M))
    assert needed - explained == set()


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_no_page_names_a_directory_of_somebodys_machine(page: Path) -> None:
    assert re.findall(r"(?:/home/|/root/|/Users/|/work/)\S*", text_of(page)) == []
