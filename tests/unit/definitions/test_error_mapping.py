# SPDX-License-Identifier: Apache-2.0
"""Error mappings: exit codes to names of errors."""

from __future__ import annotations

import pytest

from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.errors import Fault, InvalidDocument


def test_exit_codes_and_names() -> None:
    mapping = ErrorMapping.parse(
        {"version": "1.0", "exit_codes": {"1": "bad-data", "137": "oom", "-9": "bad-data"}}
    )
    assert mapping.exit_codes == {1: "bad-data", 137: "oom", -9: "bad-data"}
    assert mapping.names() == ("bad-data", "oom")
    assert [mapping.error_name(code) for code in (1, 137, -9, 2, 0, None)] == [
        "bad-data",
        "oom",
        "bad-data",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("document", [None, {}, {"version": "1.0"}, {"exit_codes": {}}])
def test_nothing_is_mapped(document: object) -> None:
    assert ErrorMapping.parse(document).exit_codes == {}


def test_success_is_no_error_even_if_it_is_mapped() -> None:
    assert ErrorMapping.parse({"exit_codes": {"0": "unknown"}}).error_name(0) is None


@pytest.mark.parametrize("code", ["", "x", "1.0", " 1", "1 ", "+1", "1e3", "٣", "12345678901", "--1", "1\n"])
def test_exit_codes_are_whole_numbers(code: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        ErrorMapping.parse({"exit_codes": {code: "unknown"}})
    (fault,) = caught.value.faults
    assert fault.rule == "document.pattern"
    assert fault.message.endswith("is not allowed here. A whole number written as text.")


def test_names_that_do_not_exist() -> None:
    mapping = ErrorMapping.parse({"exit_codes": {"1": "bad-dta", "2": "unknown"}})
    assert mapping.check_names({"unknown", "bad-data"}) == [
        Fault(
            "/exit_codes/1",
            'There is no error "bad-dta". Known errors: "bad-data", "unknown". Did you mean "bad-data"?',
            "error-mapping.unknown-error",
        )
    ]
    assert mapping.check_names(["unknown", "bad-dta"]) == []
