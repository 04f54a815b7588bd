# SPDX-License-Identifier: Apache-2.0
"""Thousands of requests of all kinds, made of the OpenAPI document: none makes the server fail.

The same ones each time, so that nobody meets by chance what others should have found; ``make fuzz`` sends
other ones, as many as one likes (``FUZZ_CASES``, ``FUZZ_SEED``).
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fuzz import ROOT, Fuzz, Server
from world import World, interface

from scale_airflow.engine.connections import stored_connection
from scale_airflow.services.queue import queue_job, queue_recipe, user_event

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"
DOCUMENT = json.loads(REFERENCE.read_text("utf-8"))
OPERATIONS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
CASES = 50
"""Cases of each operation."""

RUNTIME_CASES = 20
"""Cases of each that only workers use."""


@pytest.fixture(scope="module")
def number(request: pytest.FixtureRequest, cases: int) -> int | None:
    """The seed of this run; None for the cases that are the same each time."""
    if "FUZZ_CASES" not in os.environ:
        return None
    found = int(os.environ.get("FUZZ_SEED") or random.randrange(2**32))
    again = f"make fuzz SEED={found} CASES={cases * len(OPERATIONS)}"
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nThe same requests again: {again}", flush=True)
    return found


@pytest.fixture(scope="module")
def cases() -> int:
    """How many cases each operation gets."""
    wanted = int(os.environ.get("FUZZ_CASES") or 0)
    return max(CASES, -(-wanted // len(OPERATIONS)))


@pytest.fixture(scope="module")
def fuzz(
    api_server: Any,
    op: dict[str, str],
    empty_database: Callable[[], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fuzz]:
    """An installation with one or more of most things, and requests of somebody who may do everything."""
    from airflow import settings

    empty_database()
    root = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(root))
        # One line for each request is too much to keep.
        patch.setattr(logging.getLogger("scale_airflow"), "disabled", True)
        with settings.NonScopedSession() as session:
            fill(World(session), root)
            workers = stored_connection(session, "scale_default")
        assert workers is not None
        secret = {"Authorization": f"Bearer {workers.secret}"}
        server = Server(api_server, op, {f"{ROOT}/api/runtime/": secret})
        made = Fuzz(DOCUMENT, server)
        # All that was loaded stays: the garbage collector need not go through it thousands of times.
        gc.collect()
        gc.freeze()
        yield made
        gc.unfreeze()
        server.close()


def fill(world: World, root: Path) -> None:
    world.install(root)
    named = {"name": "one", "version": "1.0"}
    job_types = [world.job_type(name, interface({"scene": "file"}, {})) for name in ("one", "two", "three")]
    uses = [{"recipe_input": "scene", "job_input": "scene"}]
    jobs = [{"name": "one", "job_type": named, "recipe_inputs": uses}]
    recipe_type = world.recipe_type("recipe", jobs)
    event = user_event(world.session, "somebody")
    data = {"version": "1.0", "input_data": [{"name": "scene", "file_id": world.source().id}]}
    for job_type in job_types:
        queue_job(world.session, job_type=job_type, data=data, event=event)
    queue_recipe(world.session, recipe_type=recipe_type, data=data, event=event)
    world.session.commit()


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_makes_it_fail(label: str, fuzz: Fuzz, cases: int, number: int | None) -> None:
    if number is None and " /api/runtime/" in label:
        cases = RUNTIME_CASES
    assert fuzz.run(label, cases, number) >= cases, label
