# SPDX-License-Identifier: Apache-2.0
"""Messages survive the wire unchanged, and anything else is refused with the place of the fault."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scale_airflow.execution import order as module
from scale_airflow.execution.order import (
    BeatAnswer,
    BeatReport,
    ClaimAnswer,
    ClaimRequest,
    CompletionReport,
    ExecutionOrder,
    FailureReport,
    FileRef,
    KeptOutput,
    LogChunk,
    MessageError,
    NodeAnswer,
    NodeBeat,
    OrderInput,
    OrderOutput,
    PhaseTimes,
    RemoteMark,
    ReportAnswer,
    ReportedFile,
    ReportedOutput,
    ReportedParse,
    ReserveAnswer,
    WorkspaceRef,
)
from scale_airflow.execution.wire import Message

KINDS: list[type[Message]] = [
    *(
        FileRef,
        WorkspaceRef,
        OrderInput,
        OrderOutput,
        KeptOutput,
        RemoteMark,
        ExecutionOrder,
        ClaimRequest,
        ClaimAnswer,
        ReserveAnswer,
    ),
    *(PhaseTimes, ReportedFile, ReportedOutput, ReportedParse, CompletionReport, FailureReport, ReportAnswer),
    *(BeatReport, BeatAnswer, LogChunk, NodeBeat, NodeAnswer),
]

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
st.register_type_strategy(str, TEXT)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    hints = get_type_hints(kind)
    values: dict[str, st.SearchStrategy[Any]] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        hint = hints[each.name]
        if hint == dict[str, Any]:
            values[each.name] = st.dictionaries(TEXT, JSON, max_size=3)
        elif hint == dict[str, Any] | None:
            values[each.name] = st.none() | st.dictionaries(TEXT, JSON, max_size=3)
    return st.builds(kind, **values)


for _kind in KINDS:
    st.register_type_strategy(_kind, messages(_kind))


def test_every_message_is_here() -> None:
    assert {kind.__name__ for kind in KINDS} == set(module.__all__) - {"MessageError"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_round_trip(kind: type[Message]) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(message=st.from_type(kind))
    def check(message: Message) -> None:
        sent = json.loads(json.dumps(message.to_dict(), allow_nan=False))
        assert kind.from_dict(sent) == message

    check()


@settings(deadline=None)
@given(document=JSON, kind=st.sampled_from(KINDS))
def test_whatever_comes_is_a_message_or_a_clear_refusal(document: Any, kind: type[Message]) -> None:
    caught = None
    try:
        kind.from_dict(document)
    except ValueError as error:
        caught = error
    assert caught is None or (isinstance(caught, MessageError) and caught.faults)


def test_every_fault_is_named_with_its_place() -> None:
    document = {
        "answer": "maybe",
        "order": {"inputs": [{"name": 3}, 4], "cpus": "1"},
        "reason": "a\0b",
        "extra": 1,
    }
    with pytest.raises(MessageError) as caught:
        ClaimAnswer.from_dict(document)
    faults = {fault.path: fault.message for fault in caught.value.faults}
    assert faults["/answer"] == "is a str, must be one of go, wait, over"
    assert faults["/extra"] == "is not a key of ClaimAnswer"
    assert faults["/outcome"] == "is missing"
    assert faults["/reason"] == "contains a NUL character"
    assert faults["/order/inputs/0/name"] == "is a int, must be a string"
    assert faults["/order/inputs/1"] == "is a int, must be an object"
    assert faults["/order/cpus"] == "is a str, must be a finite number"
    assert faults["/order/token"] == "is missing"


def test_booleans_are_no_numbers_and_infinity_is_none() -> None:
    document = NodeAnswer(1, (), (), 1.0).to_dict()
    for key, value in (("node_id", True), ("interval", True), ("interval", float("inf")), ("stop", "12")):
        with pytest.raises(MessageError, match=f"/{key}"):
            NodeAnswer.from_dict({**document, key: value})


def test_a_token_is_in_no_text() -> None:
    (token,) = [each for each in fields(ExecutionOrder) if each.name == "token"]
    assert token.repr is False
    with pytest.raises(MessageError) as caught:
        ExecutionOrder.from_dict({"token": ["the-token"]})
    assert "the-token" not in str(caught.value)


def test_keywords_are_spelled_without_their_underscore() -> None:
    assert BeatAnswer(True).to_dict() == {"continue": True, "reason": None}
