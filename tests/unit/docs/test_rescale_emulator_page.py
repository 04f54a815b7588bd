# SPDX-License-Identifier: Apache-2.0
"""The page about the emulator names what there is: endpoints, settings, faults, scenarios, options."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from scale_airflow.rescale.emulator import (
    routes_account,
    routes_devices,
    routes_files,
    routes_jobs,
    routes_runs,
)
from scale_airflow.rescale.emulator.faults import KINDS, Fault, Rule
from scale_airflow.rescale.emulator.settings import Settings
from scale_airflow.rescale.emulator.work import SCENARIOS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "rescale-emulator.md").read_text(encoding="utf-8")
ENDPOINTS = [
    endpoint
    for module in (routes_account, routes_files, routes_jobs, routes_runs, routes_devices)
    for endpoint in module.ENDPOINTS
]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.template)
def test_every_endpoint_has_its_methods(endpoint: routes_account.Endpoint) -> None:
    path = endpoint.template.replace("*}", "}")
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| ") and f"`{path}`" in line]
    told = re.findall(r"\b(?:GET|POST|PUT|PATCH|DELETE)\b", row.split("|")[2])
    assert set(told) == set(endpoint.methods)


def test_no_endpoint_is_invented() -> None:
    told = set(re.findall(r"`(/(?:[a-z][^` ]*/(?:\{path\})?)?)`", PAGE.partition("## The admin address")[0]))
    assert told == {one.template.replace("*}", "}") for one in ENDPOINTS}


def test_settings_faults_and_scenarios() -> None:
    names = {one.name for kind in (Settings, Fault, Rule) for one in fields(kind)}
    names -= {"id", "fault", "matched", "fired"}
    missing = [name for name in names if f"`{name}`" not in PAGE]
    missing += [f"kind {kind}" for kind in KINDS if f"\n| `{kind}` |" not in PAGE]
    missing += [name for name in SCENARIOS if name and f"`{name}" not in PAGE]
    assert missing == []
    assert f"Every {Settings.gateway_timeout_every}th request" in PAGE


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(example, {})
    email, counted = capsys.readouterr().out.splitlines()
    assert email == "demo@example.com"
    assert counted == "{'503': 1, '200': 1}"
