# SPDX-License-Identifier: Apache-2.0
"""How `make test` divides the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run import HALVES, names_a_part, outcome

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_folder_of_tests_is_in_a_half(pytestconfig: pytest.Config) -> None:
    assert sorted(sum(HALVES, ())) == sorted(pytestconfig.getini("testpaths"))
    found = {
        f"tests/{path.name}" for path in (CHECKOUT / "tests").iterdir() if any(path.glob("**/test_*.py"))
    }
    assert found - {"tests/specification"} == set(sum(HALVES, ()))


def test_a_path_or_an_id_names_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert names_a_part(["-q", "tests/unit"])
    assert names_a_part([f"tests/unit/{Path(__file__).name}::{test_a_path_or_an_id_names_a_part.__name__}"])
    assert not names_a_part(["--durations=5", "-k", "no_such_name"])


@pytest.mark.parametrize(("codes", "met"), [((0, 0), 0), ((0, 5), 0), ((5, 5), 5), ((1, 0), 1), ((5, 2), 2)])
def test_one_half_that_fails_fails_all(codes: tuple[int, int], met: int) -> None:
    assert outcome(codes) == met
