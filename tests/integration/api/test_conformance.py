# SPDX-License-Identifier: Apache-2.0
"""Every answer of the API has exactly the fields that the specification's tables and examples show, and every
request that they show is accepted. What differs stands in ``DEVIATIONS``, with the reason."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from answer_models import Models
from busy_day import BusyDay
from specification import KEPT, TEXT, Endpoint, written
from specification.comparison import Comparison, Deviation, expected
from specification.requests import TABLES, Answers, spend
from world import World

from scale_airflow.store.models import utcnow

ALL_REQUIRED = {"Create Error", "Update Job"}
"""Their tables mark nothing as required, but each of their fields is."""

TOLERANT = {"Edit Job Type"}
"""Real clients send these more fields than there are; they are ignored."""

AS_THERE = {"Job Details": "Queue New Job"}
"""Job details also have ``input_files`` and ``products``: real clients rely on both. They are as the example
of a new job has them, which by its text shows the details of a job."""

_MOMENTS = (
    *("*.transfer_ended", "*.ingest_started", "*.ingest_ended", "*.data_started"),
    *("*.data_ended", "*.parsed", "*.queued", "*.started", "*.ended"),
    *("*.pre_started", "*.pre_completed", "*.job_started", "*.job_completed", "*.post_started"),
    *("*.post_completed", "Ingest Status.results.most_recent"),
)
DEVIATIONS = [
    Deviation("null", _MOMENTS, (), "It has not happened yet."),
    Deviation("null", ("*.node",), (), "Nothing has run yet, so on no node."),
    Deviation("null", ("*.latest_job_exe",), (), "The job was never queued, so it has no execution."),
    Deviation("null", ("*.outputs.value", "*.results_manifest"), (), "There is no result, or not yet."),
    Deviation("null", ("Ingest List.results.source_file", "*.file_size"), (), "The file is still arriving."),
    Deviation("null", ("*.event.rule",), (), "The event is a user's request, not a rule's."),
    Deviation("null", ("*.trigger_rule",), (), "The type has no rule."),
    Deviation("null", ("*.pause_reason",), (), "Nobody has given a reason, or the node is not paused."),
    Deviation("null", ("Export.job_types.max_scheduled",), (), "There is no maximum."),
    Deviation(
        "null",
        ("*.title", "*.description", "*.category", "*.icon_code"),
        (),
        "These are optional, and were not given.",
    ),
    Deviation(
        "never",
        ("*.pre_exit_code", "*.post_exit_code"),
        (),
        "The steps before and after a job are no processes of their own here; the examples have null too.",
    ),
    Deviation("choice", ("*.status",), ("PENDING", "BLOCKED"), "Real clients show these states of jobs."),
    Deviation(
        "more",
        ("*.job_type",),
        ("category", "author_name", "author_url", "max_scheduled", "revision_num"),
        "Other examples of a job type in the same depth have them.",
    ),
    Deviation(
        "more",
        ("*.recipe_type",),
        ("title", "revision_num", "trigger_rule"),
        "The table of Recipe Type List has them.",
    ),
    Deviation("more", ("Job Type System Failures.results.error",), ("title",), "Error Details have it."),
    Deviation(
        "more",
        ("Job Execution Details.node", "Nodes Status.results.node"),
        ("pause_reason", "is_paused_errors", "last_offer"),
        "The table of Node Details has them.",
    ),
    Deviation("more", ("Metric Details.",), ("groups",), "Metrics List has them."),
    Deviation("more", ("Ingest Status.results.strike.job",), ("job_type_rev",), "Ingest Details have it."),
    Deviation("more", ("*.recipes",), ("recipe_type_rev",), "Recipe List has it."),
    Deviation(
        "more", ("Ingest Details.strike",), ("name", "title", "description"), "Ingest Status has them."
    ),
    Deviation(
        "more",
        ("Job Details.event", "Queue New Job.event", "Update Job.event"),
        ("description",),
        "The example of Recipe Details has it.",
    ),
    Deviation(
        "more",
        ("*.rule", "*.trigger_rule"),
        ("name", "configuration", "created", "archived", "last_modified"),
        "The examples show different parts of a rule; wherever more than its id is shown, all is.",
    ),
    Deviation(
        "more",
        ("*.source_file", "*.inputs.value", "*.outputs.value", "*.input_files", "*.products"),
        ("countries",),
        "The tables of files have it.",
    ),
    Deviation("more", ("*.job_type_rev", "*.recipe_type_rev"), ("dag_id",), "Ours: the revision's DAG."),
    Deviation("more", ("*.jobs",), ("recipe",), "Ours: the recipe that the job belongs to."),
    Deviation(
        "more",
        ("Job Details.", "Update Job.", "Queue New Job."),
        ("why",),
        "Ours: what a waiting job waits for.",
    ),
    Deviation(
        "more",
        ("Job Execution Details.", "Ingest Details."),
        ("message", "warnings"),
        "Ours: what went wrong, in words.",
    ),
    Deviation(
        "more",
        ("Job Type Details.", "Create Job Type.", "Edit Job Type."),
        ("configuration",),
        "Ours: further wishes of a job type.",
    ),
    Deviation(
        "more",
        ("Workspace Details.",),
        ("is_move_enabled",),
        "Ours: whether parse results may move files there.",
    ),
]


@pytest.fixture(scope="module")
def answers(
    api_server: Any,
    admin: dict[str, str],
    empty_database: Callable[[], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Answers]:
    """What the API answers in the course of a busy day."""
    from airflow import settings
    from starlette.testclient import TestClient

    empty_database()
    root = tmp_path_factory.mktemp("day")
    with settings.NonScopedSession() as session, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(root))
        client = TestClient(api_server, base_url="http://scale.example", follow_redirects=False)
        yield spend(BusyDay(World(session), root, client, admin))
        session.rollback()


@pytest.fixture(scope="module")
def routed(api_server: Any) -> set[str]:
    """The tables whose endpoints exist, apart from the names of parameters in their paths."""
    app = next(route.app for route in api_server.routes if getattr(route, "path", "") == "/scale")

    def bare(path: str) -> str:
        return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))

    known = {(method, bare(route.path)) for route in app.routes for method in route.methods}
    return {
        title for title, table in TABLES.items() if (table["method"], bare(f"/api{table['path']}")) in known
    }


def compared(title: str, answers: Answers) -> Comparison:
    """Compare all answers that a table describes."""
    table = TABLES[title]
    tables = [table]
    if table.get("same_as") == "GET":
        same = ("GET", table["path"])
        tables += [each for each in TABLES.values() if (each["method"], each["path"]) == same]
    elif "same_as" in table:
        tables.append(TABLES[table["same_as"]])
    tables += [TABLES[AS_THERE[each["title"]]] for each in tables if each["title"] in AS_THERE]
    done = Comparison(title, expected(tables), DEVIATIONS)
    for answer in answers.kept[title]:
        if answer.status_code != table["status"]:
            done.faults.append(f"answers {answer.status_code}: {answer.text}")
        elif answer.headers["content-type"] != "application/json":
            done.faults.append(f"answers {answer.headers['content-type']}")
        else:
            done.compare(answer.json())
        location = answer.headers.get("location")
        if table.get("location") and not is_there(answers, location):
            done.faults.append(f"nothing is at the Location {location}")
    return done


def is_there(answers: Answers, location: str | None) -> bool:
    start = "http://scale.example/scale/api"
    if location is None or not location.startswith(start):
        return False
    return answers.day.request("GET", location.removeprefix(start)).status_code == 200


@pytest.mark.parametrize("title", TABLES)
def test_answers(title: str, answers: Answers) -> None:
    assert answers.kept[title]
    done = compared(title, answers)
    # What another table describes as well is seen whole there.
    faults = sorted({*done.faults, *(() if "same_as" in TABLES[title] else done.unseen())})
    assert not faults, "\n".join([f"{TABLES[title]['method']} {TABLES[title]['path']}", *faults])


def test_models(answers: Answers, routed: set[str]) -> None:
    """Every answer has exactly the fields of its model in the OpenAPI document."""
    document = answers.day.client.get("/scale/openapi.json", headers=dict(answers.day.login))
    models = Models(document.json())
    faults = []
    for title in routed:
        for answer in answers.kept[title]:
            path = answer.request.url.path.removeprefix("/scale")
            faults += models.faults(answer.request.method, path, answer.status_code, answer.json())
    assert not faults, "\n".join(sorted(set(faults)))
    assert len(models.seen) == len({(TABLES[title]["method"], TABLES[title]["path"]) for title in routed})


def test_nothing_is_excused_in_vain(answers: Answers) -> None:
    """Every pattern and every name of every deviation is needed by some answer."""
    for each in DEVIATIONS:
        each.needed.clear()
    for title in TABLES:
        compared(title, answers).unseen()
    assert [(each.why, each.needless()) for each in DEVIATIONS if each.needless()] == []


def test_what_was_read(capsys: pytest.CaptureFixture[str], routed: set[str]) -> None:
    """The kept form is what the text says, where the text is at hand; say how much there is."""
    source = "the kept form"
    if TEXT.is_file():
        source = "its text, which says the same as the kept form"
        assert written() == {path.stem: path.read_text("utf-8") for path in KEPT.glob("*.json")}, (
            "run: python -m specification (in tests/)"
        )
    tables = TABLES.values()
    fields = sum(len(table.get(part, ())) for table in tables for part in ("fields", "body", "parameters"))
    examples = [len(table.get(part, ())) for table in tables for part in ("examples", "body_examples")]
    with capsys.disabled():
        print(
            f"\nThe specification, read from {source}: {len(tables)} tables of endpoints, {fields} fields "
            f"and {sum(examples)} examples; {len(DEVIATIONS)} kinds of deviations."
        )
    assert len(tables) == 58
    assert fields > 800
    assert routed == TABLES.keys()


LATELY = (utcnow() - timedelta(days=2)).isoformat()
GOOD = {
    "integer": ["1", "77"],
    "string": ["one", "two words"],
    "boolean": ["true", "F", "0"],
    "datetime": [LATELY, "PT3H0M0S"],
    "page": ["1"],
    "ended": [utcnow().isoformat(), "PT1S"],
    "column": ["completed_count", "failed_count"],
    "group": ["overview", "queue_time"],
}
BAD = {"integer": "one", "boolean": "maybe", "datetime": "yesterday"}
NOT_STORED = ("url", "meta_data", "definition")
"""Fields of lists that have no order."""


@pytest.mark.parametrize("title", [title for title in TABLES if "parameters" in TABLES[title]])
def test_parameters(title: str, answers: Answers) -> None:
    """Every query parameter takes what the table says, and is refused by name if it can't be that."""
    table = TABLES[title]
    path = table["path"].replace("{name}", "job-types")
    for name, row in table["parameters"].items():
        good = row.get("choices") or GOOD.get(name) or GOOD[row["type"]]
        if name == "order":
            good = [f"{sign}{each}" for each in orderable(table) for sign in ("", "-")]
        several = [good[start : start + 10] for start in range(0, len(good), 10)]
        for value in several if row.get("repeatable") else good:
            answer = answers.day.request("GET", path, params={name: value})
            assert answer.status_code == 200, (name, value, answer.text)
        bad = "NONSENSE" if name == "order" or "choices" in row else BAD.get(row["type"])
        if bad is not None:
            answer = answers.day.request("GET", path, params={name: bad})
            assert answer.status_code == 400, (name, bad)
            assert {fault["path"] for fault in answer.json()["errors"]} == {name}


def orderable(table: Endpoint) -> list[str]:
    """Return the fields of a list's results, and with ``__`` those of the objects in them."""
    fields = {path.removeprefix("results[]."): row for path, row in table["fields"].items() if "[]." in path}
    (shown,) = table["examples"]
    (result,) = shown["results"]
    found = [name for name, row in fields.items() if row["type"] not in ("array", "object")]
    for name, value in result.items():
        if isinstance(value, dict) and name not in NOT_STORED:
            found += [f"{name}__{each}" for each, kind in value.items() if isinstance(kind, str)]
    found = [name.replace(".", "__") for name in found]
    return [name for name in found if name.rpartition("__")[2] not in NOT_STORED]


WRONG = {
    "string": 1,
    "integer": "1",
    "number": "1",
    "boolean": 0,
    "object": "x",
    "array": "x",
    "datetime": "x",
}


@pytest.mark.parametrize("title", [title for title in TABLES if "body" in TABLES[title]])
def test_bodies(title: str, answers: Answers) -> None:
    """Every field of a body has its type; none that is required may be missing, and none is there besides."""
    table = TABLES[title]
    body = table["body"]
    sent = answers.body_of(title)

    def faults_of(changed: dict[str, Any]) -> dict[str, str]:
        answer = answers.again(title, changed)
        assert answer.status_code == 400, (changed, answer.text)
        return {fault["path"]: fault["message"] for fault in answer.json()["errors"]}

    for path, row in body.items():
        *above, name = path.split(".")
        changed = copy.deepcopy(sent)
        place = changed
        for each in above:
            place = place[each]
        place[name] = WRONG[row["type"]]
        pointer = "".join(f"/{each}" for each in (*above, name))
        assert pointer in faults_of(changed), path
        if row.get("required") or title in ALL_REQUIRED:
            del place[name]
            missing = faults_of(changed)
            # A missing field is told at its own place, or at the object that lacks it.
            told = missing.get(pointer) or missing.get(pointer.rpartition("/")[0])
            assert told, (path, missing)
            assert f'"{name}"' in told
    if title not in TOLERANT:
        assert "/no_such_field" in faults_of({**sent, "no_such_field": 1})
