# SPDX-License-Identifier: Apache-2.0
"""Job results: the files of each output."""

from __future__ import annotations

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_results import JobResults
from scale_airflow.errors import InvalidDocument


def test_round_trip() -> None:
    document = load("job-results.both")
    results = JobResults.parse(document)
    assert results.outputs == {"one": (5,), "many": (6, 7)}
    assert results.is_list == {"one": False, "many": True}
    assert results.to_document() == document


def test_lists_stay_lists() -> None:
    results = JobResults({"a": (), "b": (1,), "c": (1,)}, {"a": True, "b": True, "c": False})
    assert results.to_document()["output_data"] == [
        {"name": "a", "file_ids": []},
        {"name": "b", "file_ids": [1]},
        {"name": "c", "file_id": 1},
    ]


@pytest.mark.parametrize("document", [None, {}])
def test_no_results(document: object) -> None:
    assert JobResults.parse(document).to_document() == {"version": "1.0", "output_data": []}


@pytest.mark.parametrize("row", [{"name": "a"}, {"name": "a", "file_id": 1, "file_ids": [1]}])
def test_exactly_one_form(row: object) -> None:
    with pytest.raises(InvalidDocument):
        JobResults.parse({"output_data": [row]})
