# SPDX-License-Identifier: Apache-2.0
"""The requests that the specification describes, sent in the course of a busy day."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
from busy_day import BusyDay
from world import interface

from specification import Endpoint, kept

TABLES: dict[str, Endpoint] = {table["title"]: table for tables in kept().values() for table in tables}
"""The specification's tables by their titles."""


class Answers:
    """Sends requests and keeps their answers by the table that describes them."""

    def __init__(self, day: BusyDay):
        self.day = day
        self.kept: dict[str, list[httpx.Response]] = {title: [] for title in TABLES}
        self.sent: dict[str, tuple[str, Any]] = {}

    def ask(self, title: str, number: int | str = "", body: Any = None, query: str = "", **more: Any) -> Any:
        table = TABLES[title]
        path = table["path"].replace("{id}", str(number)).replace("{name}", str(number))
        arguments = more if body is None else {"json": body}
        self.sent[title] = path, body
        answer = self.day.request(table["method"], path + query, **arguments)
        self.kept[title].append(answer)
        return answer.json()

    def body_of(self, title: str) -> Any:
        """Return the last body that was sent."""
        return copy.deepcopy(self.sent[title][1])

    def again(self, title: str, body: Any) -> httpx.Response:
        """Send another body where the last one was sent."""
        return self.day.request(TABLES[title]["method"], self.sent[title][0], json=body)


def example(title: str) -> Any:
    return copy.deepcopy(TABLES[title]["body_examples"][0])


def write(answers: Answers) -> None:
    """Send the specification's request examples about what is configured."""
    error = answers.ask("Create Error", body=example("Create Error"))
    answers.ask("Edit Error", error["id"], body=example("Edit Error"))
    made = answers.ask("Create Job Type", body=example("Create Job Type"))
    answers.ask("Validate Job Type", body=example("Validate Job Type"))
    answers.ask("Validate Job Type", body=with_another_media_type(example("Validate Job Type")))
    answers.ask("Edit Job Type", made["id"], body=example("Edit Job Type"))
    made = answers.ask("Create Recipe Type", body=example("Create Recipe Type"))
    answers.ask("Validate Recipe Type", body=definition_in_its_place())
    answers.ask("Validate Recipe Type", body=with_another_media_type(example("Create Recipe Type")))
    answers.ask("Edit Recipe Type", made["id"], body=example("Edit Recipe Type"))
    answers.ask("Create Strike Process", body=example("Create Strike Process"))


def with_another_media_type(body: Any) -> Any:
    body["trigger_rule"]["configuration"]["condition"]["media_type"] = "image/tiff"
    return body


def definition_in_its_place() -> Any:
    """The example of Validate Recipe Type has the fields of the required ``definition`` beside it."""
    body = example("Validate Recipe Type")
    body["definition"] = {name: body.pop(name) for name in ("input_data", "jobs")}
    return body


def queue(answers: Answers) -> None:
    """Send the request examples of the queue, on types with the examples' inputs and with ids that exist."""
    day = answers.day
    inputs = {"Param 1": "property", "Param 2": "file"}
    job_type = day.world.job_type("example", interface(inputs, {"Param 3": "file"}))
    body = example("Queue New Job")
    body["job_type_id"] = job_type.id
    body["job_data"]["input_data"][1]["file_id"] = day.ids["source"]
    body["job_data"]["output_data"][0]["workspace_id"] = day.world.workspace().id
    job = answers.ask("Queue New Job", body=body)
    answers.ask("Update Job", job["id"], body={"status": "CANCELED"})
    requeue(answers)
    uses = [{"recipe_input": "image", "job_input": "input"}]
    one = {"name": "one", "job_type": {"name": "unpack", "version": "1.0"}, "recipe_inputs": uses}
    taken = [{"name": name, "type": "file"} for name in ("image", "georeference_data")]
    document = {"name": "example", "version": "1.0", "definition": {"input_data": taken, "jobs": [one]}}
    body = example("Queue New Recipe")
    body["recipe_type_id"] = day.do("POST", "/recipe-types/", document)["id"]
    for each in body["recipe_data"]["input_data"]:
        each["file_id"] = day.ids["source"]
    body["recipe_data"]["workspace_id"] = day.world.workspace().id
    answers.ask("Queue New Recipe", body=body)


def requeue(answers: Answers) -> None:
    """Send a request with every filter that there is; the specification has no example."""
    day = answers.day
    job_type = day.world.job_type("requeued", interface({}, {}), category="examples")
    job = day.do("POST", "/queue/new-job/", {"job_type_id": job_type.id})
    day.do("PATCH", f"/jobs/{job['id']}/", {"status": "CANCELED"})
    wanted = {"started": "PT1H", "ended": "PT0S", "status": "CANCELED", "job_ids": [job["id"]]}
    types = {"job_type_ids": [job_type.id], "job_type_names": ["requeued"]}
    more = {"job_type_categories": ["examples"], "priority": 7}
    answers.ask("Requeue Jobs", body={**wanted, **types, **more})


def configure(answers: Answers) -> None:
    """Export, and import the same again, with a field that only Scale itself sets."""
    document = answers.ask("Export")
    for each in document["job_types"]:
        each["revision_num"] = 1
    answers.ask("Import", body={"import": document})
    answers.ask("Validate Import", body={"import": document})
    exported = json.dumps(answers.ask("Export Download"))
    answers.ask("Import Upload", files={"import": ("scale-export.json", exported)})


DETAILS = {
    "Error Details": ["error"],
    "Ingest Details": ["ingest"],
    "Job Details": ["job", "parsed job", "failed job", "running job", "waiting job"],
    "Job Execution Details": ["execution of job", "execution of failed job"],
    "Job Execution Logs": ["execution of job", "execution of failed job"],
    "Job Type Details": [
        *("job type waits", "job type fails", "job type kml-footprint"),
        "archived job type",
    ],
    "Node Details": ["node", "paused node", "silent node", "gone node"],
    "Recipe Details": ["recipe"],
    "Recipe Type Details": ["recipe type", "archived recipe type"],
    "Workspace Details": ["workspace", "workspace old"],
}


def read(answers: Answers) -> None:
    """Ask for every list, with a page in its middle, and for details of every kind."""
    for title, table in TABLES.items():
        if table["method"] != "GET" or answers.kept[title]:
            continue
        if title in DETAILS:
            for name in DETAILS[title]:
                answers.ask(title, answers.day.ids[name])
        elif "{name}" in table["path"]:
            answers.ask(title, "job-types")
            if "count" in table.get("fields", ()):
                answers.ask(title, "job-types", query="?page_size=1&page=2&choice_id=1&choice_id=2")
        else:
            answers.ask(title, query="?include_inactive=true")
            if "count" in table.get("fields", ()):
                answers.ask(title, query="?include_inactive=true&page_size=1&page=2")
    for title in ("Metrics List", "Ingest Status"):
        answers.ask(title, query="?page_size=1")  # two are too few for a page in their middle


def change(answers: Answers) -> None:
    """Send the changes of which the specification has no example."""
    day = answers.day
    body = {"hostname": "worker-1", "port": 5051, "is_paused": True, "pause_reason": "A new disk"}
    answers.ask("Replace Node", day.ids["node"], body=body)
    answers.ask("Update Node", day.ids["node"], body=body)
    answers.ask("Update Scheduler", body={"is_paused": True})
    answers.ask("Requeue Jobs", body={"job_ids": [day.ids["failed job"]]})


def spend(day: BusyDay) -> Answers:
    """Spend the day: do everything, and ask for everything in between."""
    found = Answers(day)
    day.begin()
    write(found)
    day.scenes()
    day.work()
    queue(found)
    day.end()
    configure(found)
    read(found)
    change(found)
    return found
