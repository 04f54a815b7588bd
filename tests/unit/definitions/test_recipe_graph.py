# SPDX-License-Identifier: Apache-2.0
"""Orders and circles of dependencies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scale_airflow.definitions.recipe_graph import find_cycles, order

NAMES = [f"job {number}" for number in range(8)]
graphs = st.permutations(NAMES).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.lists(st.sampled_from([*NAMES, "missing"]), max_size=3) for name in names}
    )
)
without_circles = st.permutations(NAMES).flatmap(
    lambda names: st.fixed_dictionaries(
        {
            name: st.lists(st.sampled_from(names[:index]), max_size=3) if index else st.just([])
            for index, name in enumerate(names)
        }
    )
)


def reachable(parents: dict[str, list[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(parents[start])
    while waiting:
        name = waiting.pop()
        if name in parents and name not in seen:
            seen.add(name)
            waiting += parents[name]
    return seen


@given(graphs)
def test_jobs_stand_behind_their_parents(parents: dict[str, list[str]]) -> None:
    ordered = order(parents)
    assert len(set(ordered)) == len(ordered)
    for index, name in enumerate(ordered):
        assert {each for each in parents[name] if each in parents} <= set(ordered[:index])


@given(without_circles, st.randoms())
def test_without_circles_every_job_has_its_place(parents: dict[str, list[str]], random: object) -> None:
    assert set(order(parents)) == set(parents)
    assert find_cycles(parents) == []


@given(graphs)
def test_circles_are_circles_and_none_is_missed(parents: dict[str, list[str]]) -> None:
    cycles = find_cycles(parents)
    for cycle in cycles:
        for name, needed in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert needed in parents[name]
        assert list(parents).index(cycle[0]) == min(list(parents).index(name) for name in cycle)
    members = [name for cycle in cycles for name in cycle]
    assert len(members) == len(set(members))
    # Every job that waits for itself waits for, or is in, a circle that is told.
    for name in parents:
        if name in reachable(parents, name):
            assert ({name} | reachable(parents, name)) & set(members)


def test_long_chains_and_circles_do_not_recurse() -> None:
    count = 50_000
    chain = {str(number): [str(number + 1)] for number in range(count)}
    assert order({**chain, str(count): []})[0] == str(count)
    assert len(find_cycles({**chain, str(count): ["0"]})[0]) == count + 1
