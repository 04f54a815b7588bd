# SPDX-License-Identifier: Apache-2.0
"""Order the jobs of a recipe by their dependencies, and find dependencies that run in a circle."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

Parents = Mapping[str, Sequence[str]]
"""For each job the jobs that it depends on; unknown names are ignored."""


def order(parents: Parents) -> list[str]:
    """Return the jobs so that each stands behind its parents, otherwise in the given order.

    Jobs in a circle, and those that depend on one, are left out.
    """
    rank = {name: index for index, name in enumerate(parents)}
    names = list(parents)
    missing = {name: len({each for each in needed if each in rank}) for name, needed in parents.items()}
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, needed in parents.items():
        for each in dict.fromkeys(needed):
            if each in rank:
                children[each].append(name)
    ready = [rank[name] for name, count in missing.items() if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        name = names[heapq.heappop(ready)]
        ordered.append(name)
        for child in children[name]:
            missing[child] -= 1
            if missing[child] == 0:
                heapq.heappush(ready, rank[child])
    return ordered


def find_cycles(parents: Parents) -> list[list[str]]:
    """Return circles of jobs, each job in at most one, and at least one circle where there are any.

    Every job in a list needs the one behind it, the last needs the first. A circle starts with its first job
    in the given order. The work is linear in the number of dependencies.
    """
    placed = set(order(parents))
    left = [name for name in parents if name not in placed]
    rank = {name: index for index, name in enumerate(left)}
    state: dict[str, int] = {}
    cycles = []
    for start in left:
        if start in state:
            continue
        # A walk along "needs": its path is on the stack, and a step onto the path closes a circle.
        path: list[str] = [start]
        position = {start: 0}
        steps = [iter(parents[start])]
        state[start] = 1
        while path:
            following = next((each for each in steps[-1] if each in parents and each not in placed), None)
            if following is None:
                position.pop(path.pop())
                steps.pop()
            elif following in position:
                cycle = path[position[following] :]
                first = min(range(len(cycle)), key=lambda index: rank[cycle[index]])
                cycles.append(cycle[first:] + cycle[:first])
                # One circle for these jobs is enough: the others of a tangle show when it is mended.
                placed.update(cycle)
                while path and path[-1] in placed:
                    position.pop(path.pop())
                    steps.pop()
            elif following not in state:
                state[following] = 1
                position[following] = len(path)
                path.append(following)
                steps.append(iter(parents[following]))
    return cycles
