# SPDX-License-Identifier: Apache-2.0
"""The page about Rescale from Python names what there is: every call, error, setting and number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from unit.rescale.scripted import answer, page, scripted
from unit.rescale.test_errors import family

from scale_airflow.errors import RescaleError
from scale_airflow.hooks.rescale_connection import EXTRAS
from scale_airflow.rescale import RequestPolicy, conversations, endpoints
from scale_airflow.rescale.http_settings import MAX_CONCURRENCY
from scale_airflow.rescale.rates import DOCUMENTED_LIMITS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "rescale-client.md").read_text(encoding="utf-8")
FLOWS = [
    name
    for name, value in vars(conversations).items()
    if getattr(value, "__module__", "") == conversations.__name__
    and "Flow[" in str(getattr(value, "__annotations__", {}).get("return", ""))
]


@pytest.mark.parametrize(
    "name", [*endpoints.__all__, *(kind.__name__ for kind in family(RescaleError)), *EXTRAS, *FLOWS]
)
def test_it_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE or f"`{name}(" in PAGE


def test_the_numbers() -> None:
    policy = RequestPolicy()
    assert f"{policy.tries} attempts, pauses of up to 1, 2, 4 … {policy.pause_cap:.0f} s" in PAGE
    assert f"or date), {policy.throttled_tries} attempts" in PAGE
    assert f"| {2 * policy.tries} attempts more |" in PAGE
    assert (policy.longest_pause, policy.first_pause) == (600, 1)
    assert f"an answer ({policy.read_timeout:.0f})" in PAGE
    assert f"at once ({MAX_CONCURRENCY})" in PAGE
    assert all(f"{limit:,.0f}" in PAGE for limit in DOCUMENTED_LIMITS.values())


def test_the_examples(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)
    with scripted() as server:
        monkeypatch.setenv("RESCALE_API_KEY", "key")
        monkeypatch.setenv("RESCALE_API_BASE_URL", server.url)
        row = {"id": "J", "name": "wing", "jobStatus": {"content": "Executing"}}
        server.on("GET jobs/", page(row))
        server.on("GET jobs/J/", answer({"id": "J", "jobanalyses": [{"hardware": {"walltime": 2}}]}))
        server.on("POST jobs/", lambda seen: answer({**seen.json, "id": "NEW"}, 201))
        names["print_running_jobs"]()
        assert capsys.readouterr().out == "J wing Executing\n"
        assert names["run_again"]("J") == "NEW"
        assert server.seen[-1].json["jobanalyses"][0]["hardware"] == {"walltime": 4}
