# SPDX-License-Identifier: Apache-2.0
"""Django REST Framework's errors, flat."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_airflow.errors import RescaleError, RescaleRefused
from scale_airflow.rescale import Call, endpoints
from scale_airflow.rescale.refusals import explain, refusal

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def flat(document: Any) -> list[tuple[str, str]]:
    found = explain(json.dumps(document).encode(), server="s", secret="k3y")
    return [(fault.path, fault.message) for fault in found.faults]


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ({"detail": "Invalid token."}, [("", "Invalid token.")]),
        ({"name": ["This field is required."]}, [("/name", "This field is required.")]),
        ({"name": "bad"}, [("/name", "bad")]),
        (
            {"jobanalyses": [{}, {"hardware": {"coresPerSlot": ["a", "b"]}}]},
            [
                ("/jobanalyses/1/hardware/coresPerSlot", "a"),
                ("/jobanalyses/1/hardware/coresPerSlot", "b"),
            ],
        ),
        ({"non_field_errors": ["together"]}, [("", "together")]),
        ({"jobanalyses": [{"non_field_errors": ["x"]}]}, [("/jobanalyses/0", "x")]),
        ({"jobanalyses": {"0": {"command": ["x"]}}}, [("/jobanalyses/0/command", "x")]),
        (["plain", "list"], [("", "plain"), ("", "list")]),
        ("text", [("", "text")]),
        ({"envVars": {"a/b~c": ["x"]}}, [("/envVars/a~1b~0c", "x")]),
        ({"project": {"detail": "inner"}}, [("/project/detail", "inner")]),
        ({"a": [], "b": {}, "c": None, "d": ""}, []),
        ({"a": ["line\nbreak \x1b[31m"]}, [("/a", "line break [31m")]),
        ({"key": "k3y"}, [("/key", "***")]),
    ],
)
def test_errors_become_flat(document: Any, faults: list[tuple[str, str]]) -> None:
    assert flat(document) == faults


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": ', b"\xff\xfe", b"[" * 100_000, b"   "])
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    found = explain(body, server="s", secret="k")
    assert (found.text, found.faults) == ("", ())


def test_a_flood_is_cut() -> None:
    found = explain(json.dumps({str(i): ["x" * 5000] for i in range(5000)}).encode(), server="s", secret="k")
    assert len(found.faults) == 100
    assert len(found.text) <= 2000


@settings(max_examples=50)
@given(ANY_JSON, st.integers(300, 499))
def test_any_answer_makes_an_error_without_the_key(document: Any, status: int) -> None:
    body = json.dumps({"said": document, "key": "s3cret-k3y"}).encode()
    found = explain(body, server="s", secret="s3cret-k3y")
    error = refusal(endpoints.get_job("J"), status, found)
    assert isinstance(error, RescaleError)
    assert (error.status, error.job_id) == (status, "J")
    assert "s3cret-k3y" not in str(error) + error.detail
    assert str(error).isprintable()


def test_advice_stands_behind_a_refusal() -> None:
    call: Call[None] = endpoints.delete_job("J")
    error = refusal(call, 400, explain(b'{"detail": "Cluster is running"}', server="s", secret="k"))
    assert isinstance(error, RescaleRefused)
    assert str(error) == (
        "DELETE jobs/J/: Rescale has refused it (400): Cluster is running. "
        "A job can be deleted only once its cluster has stopped."
    )
