# SPDX-License-Identifier: Apache-2.0
"""Files have the countries that their footprints touch, from when these are stored or found again later."""

from __future__ import annotations

from sqlalchemy import select, update
from work import queued, started
from world import World

from scale_airflow.execution.order import ReportedFile, ReportedOutput, ReportedParse
from scale_airflow.services.file_countries import find_countries
from scale_airflow.store.models import ScaleFile

BERLIN = {"type": "Point", "coordinates": [13.4, 52.5]}
CHANNEL = {"type": "LineString", "coordinates": [[-0.1, 51.5], [2.35, 48.85]]}


def files(world: World) -> dict[str, ScaleFile]:
    world.session.expire_all()
    return {file.file_name: file for file in world.session.scalars(select(ScaleFile))}


def test_countries_of_footprints(world: World) -> None:
    job = queued(world, world.job_type("one"))
    world.source("without.zip")
    world.dispatch()
    order = started(world, job)
    made = ReportedFile(
        "output.dat",
        order.outputs[0].workspace_id,
        f"{order.output_path}/output.dat",
        3,
        "0" * 64,
        "application/octet-stream",
        None,
        None,
        CHANNEL,
    )
    parsed = ReportedParse("scene.zip", None, (), None, None, BERLIN, None)
    answer = world.complete(
        order, outputs=(ReportedOutput("output", False, (made,)),), parse_results=(parsed,)
    )
    assert answer.decision == "done"
    expected = {"scene.zip": ["DEU"], "output.dat": ["FRA", "GBR"], "without.zip": []}
    found = files(world)
    assert {name: file.countries for name, file in found.items()} == expected
    before = {name: file.last_modified for name, file in found.items()}

    last = max(file.id for file in found.values() if file.geometry)
    assert find_countries(world.session) == (last, 0)
    assert find_countries(world.session, last) == (None, 0)

    # As they were stored before countries were found.
    world.session.execute(update(ScaleFile).values(countries=[], last_modified=ScaleFile.last_modified))
    world.session.commit()
    assert find_countries(world.session) == (last, 2)
    world.session.commit()
    found = files(world)
    assert {name: file.countries for name, file in found.items()} == expected
    assert {name: file.last_modified for name, file in found.items()} == before
