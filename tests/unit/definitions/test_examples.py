# SPDX-License-Identifier: Apache-2.0
"""Every valid document is taken as it is; spoilt ones are refused in words, never with another error."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.definitions.samples import EXAMPLES, PARSERS, kind_of, load, spoiled, values

from scale_airflow.definitions.rules import TABLE
from scale_airflow.errors import InvalidDocument


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_is_valid_and_stays_unchanged(example: str) -> None:
    document = load(example)
    before = copy.deepcopy(document)
    parsed = PARSERS[kind_of(example)](document)
    assert document == before
    assert repr(parsed)


def test_every_kind_has_an_example() -> None:
    assert {kind_of(example) for example in EXAMPLES} == PARSERS.keys()


@pytest.mark.parametrize("example", EXAMPLES)
def test_reading_again_what_was_read_gives_the_same(example: str) -> None:
    parse = PARSERS[kind_of(example)]
    parsed = parse(load(example))
    if hasattr(parsed, "document"):
        assert parse(json.loads(json.dumps(dict(parsed.document)))) == parsed


def refusal(kind: str, document: Any) -> InvalidDocument | None:
    try:
        PARSERS[kind](document)
    except InvalidDocument as error:
        return error
    return None


def refused_or_read(kind: str, document: Any) -> None:
    """Read a document; what is refused must be told properly."""
    error = refusal(kind, document)
    if error is None:
        return
    assert error.kind == kind.replace("-", " ")
    assert error.faults
    for fault in error.faults:
        assert fault.rule in TABLE, fault
        assert fault.path == "" or fault.path.startswith("/"), fault
        assert fault.message[0].isupper() or fault.message[0] in '"0123456789m', fault
        assert fault.message[-1] in ".?", fault
        # What can't be encoded could not be sent to anyone.
        (fault.path + fault.message).encode()
    assert len(str(error)) < 100_000


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(EXAMPLES).flatmap(lambda name: st.tuples(st.just(kind_of(name)), spoiled(load(name)))))
def test_a_spoilt_document_is_read_or_refused(case: tuple[str, Any]) -> None:
    refused_or_read(*case)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(PARSERS)), values)
def test_anything_else_is_refused(kind: str, document: Any) -> None:
    refused_or_read(kind, document)


def _many(count: int) -> dict[str, Any]:
    """Return hostile documents: many things that are all wrong in a way that needs looking at all others."""
    name = "x" * 200
    jobs = [
        {
            "name": f"{name}{index}",
            "job_type": {"name": "a", "version": "1"},
            "recipe_inputs": [{"recipe_input": f"y{index}", "job_input": "i"}],
            "dependencies": [{"name": f"{name}{index + 1}"}, {"name": f"{name}z{index}"}],
        }
        for index in range(count)
    ]
    inputs = [{"name": f"{name}{index}", "type": "property"} for index in range(count)]
    return {
        "recipe-definition": {"jobs": jobs, "input_data": inputs},
        "job-interface": {
            "command": "'" * count,
            "command_arguments": "${:" * count + "".join(f"${{{index}}} " for index in range(count)),
            "input_data": inputs,
            "output_data": inputs,
        },
        "error-mapping": {"exit_codes": {f"x{index}": None for index in range(count)}},
        "job-data": {"input_data": [{"name": 1, "file_ids": [True] * 10}] * count},
        "results-manifest": {
            "output_data": [{"name": "a", "file": {"path": "p", "geo_metadata": {"geo_json": {}}}}] * count
        },
        "strike-configuration": {"files_to_ingest": [{"filename_regex": "(a+)+$" * 150}] * 1000},
    }


@pytest.mark.parametrize("kind", sorted(_many(1)))
def test_hostile_documents_cost_bounded_work(kind: str) -> None:
    document = _many(5000)[kind]
    started = time.process_time()
    refused_or_read(kind, document)
    assert time.process_time() - started < 5


def test_a_recipe_of_five_jobs_is_read_in_less_than_a_millisecond() -> None:
    document = load("recipe-definition.geotiff")
    document["jobs"] += [
        {
            "name": f"detect {index}",
            "job_type": {"name": "point-detector", "version": "4.5.6"},
            "dependencies": [
                {"name": "make_geotiff", "connections": [{"output": "geo_image", "input": "image"}]}
            ],
        }
        for index in range(3)
    ]
    parse = PARSERS["recipe-definition"]
    parse(document)
    durations = []
    for _ in range(50):
        started = time.perf_counter()
        parse(document)
        durations.append(time.perf_counter() - started)
    assert min(durations) < 0.001
