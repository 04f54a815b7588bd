# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent, the emulator has an answer: never one that speaks of a defect of its own."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from scale_airflow.rescale.emulator.process import EmulatorProcess

ROUNDS = 400
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 10**30, 0.5, 1e308, "", " ", "0", "x", "\x00", "\ud800", "a" * 300),
    *([], [None], [[]], [{}], {}, {"id": None}, {"id": []}, {"": ""}, {"code": "user_included"}, [{"id": 1}]),
]
KNOWN = ["user_included", "granite", "0", 2, "echo", "prA", [{"name": "x", "valueGeneratorType": "Linspace"}]]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root", gateway_timeout_every=0) as running:
        yield running


def job_with(chance: random.Random) -> Any:
    body: Any = {
        "name": "a job",
        "jobanalyses": [
            {
                "analysis": {"code": "user_included", "version": "0"},
                "command": "true",
                "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1, "slots": 1},
                "inputFiles": [{"id": "x", "decompress": True}],
                "envVars": {"A": "b"},
                "templateTasks": [{"processedFilename": "x", "templateFile": {"id": "x"}}],
                "preProcessScript": {"id": "x"},
                "flags": {"igCv": True},
            }
        ],
        "jobvariables": [
            {
                "name": "x",
                "variableType": "Param",
                "valueGeneratorType": chance.choice(["FixedRange", "Normal", "Linspace", "LogNormal"]),
                "valueGeneratorSettings": {"minvalue": 1, "maxvalue": 2, "increment": 1},
            }
        ],
        "paramFile": {"id": "x"},
        "projectId": "prA",
        "isLowPriority": True,
        "monteCarloIterations": 1,
        "tags": ["x"],
        "jobAutomations": [{"environmentVariables": []}],
        "sshPort": 22,
        "storageSize": 10,
        "storageDevice": {"id": "x"},
        "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
        "region": {"id": "pCTMk"},
        "email": "a@b",
    }
    del body["paramFile"], body["jobanalyses"][0]["inputFiles"], body["jobanalyses"][0]["templateTasks"]
    del body["jobanalyses"][0]["preProcessScript"]
    for _ in range(chance.randrange(4)):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chance.choice(keys)
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and chance.random() < 0.75:
                place = inner
                continue
            place[key] = copy.deepcopy(chance.choice(VALUES + KNOWN))
            break
    return chance.choice(VALUES) if chance.random() < 0.03 else body


def test_no_request_finds_a_defect(emulator: EmulatorProcess) -> None:
    chance = random.Random(5)
    session = requests.Session()
    session.headers["Authorization"] = f"Token {emulator.api_key}"
    made = emulator.admin.make_file("x.txt", 100, "text")["id"]
    draft = emulator.admin.add_job(
        {
            "name": "draft",
            "jobanalyses": [
                {
                    "analysis": {"code": "user_included"},
                    "command": "true",
                    "hardware": {"coreType": "granite", "coresPerSlot": 2},
                }
            ],
        }
    )
    ids = [made, draft, "x", "..", "", "%00", "ä", "1", "a" * 3000, "%2e%2e", "%ff"]
    templates = [
        *("/jobs/", "/jobs/{}/", "/jobs/{}/statuses/", "/jobs/{}/files/", "/jobs/{}/runs/{}/", "/files/{}/"),
        *("/jobs/{}/runs/{}/tail/{}", "/jobs/{}/tags/", "/jobs/{}/share/", "/jobs/{}/storage-devices/"),
        *("/files/{}/contents/", "/files/{}/lines/", "/files/", "/files/contents/", "/storage-devices/"),
        *("/storage-devices/{}/submit/", "/coretypes/", "/jobs/{}/cluster-load-measurements/", "/tasks/{}/"),
        *("/organizations/{}/jobs/{}/project-assignment/", "/jobs/{}/custom-fields/", "//", "/{}"),
    ]
    names = ["page", "page_size", "search", "ordering", "state", "job_status", "lines", "hours", "isActive"]
    defects = []
    for _ in range(ROUNDS):
        path = chance.choice(templates) if chance.random() < 0.6 else "/jobs/"
        while "{}" in path:
            path = path.replace("{}", chance.choice(ids), 1)
        query = "&".join(
            f"{chance.choice(names)}={quote(str(chance.choice(VALUES)).encode('utf-8', 'replace'))}"
            for _ in range(chance.randrange(3))
        )
        headers = {"Content-Type": "application/json"}
        if chance.random() < 0.1:
            headers["Content-Type"] = chance.choice(
                ["text/plain", "multipart/form-data; boundary=x", "/", ";"]
            )
        if chance.random() < 0.2:
            headers["Range"] = chance.choice(["bytes=0-", "bytes=-", "bytes=9999999999999999999-", "x"])
        method = (
            "POST"
            if path == "/jobs/"
            else chance.choice(["GET", "POST", "PATCH", "DELETE", "PUT", "POST", "OPTIONS", "HEAD"])
        )
        body = json.dumps(job_with(chance))
        answer = session.request(
            method, f"{emulator.base_url}/api/v2{path}?{query}", data=body, headers=headers, timeout=30
        )
        if answer.status_code >= 500 and b"<title>500" not in answer.content:
            defects.append((method, path, query, headers, body, answer.text[:300]))
    session.close()
    log = (emulator.root.parent / f"{emulator.root.name}.log").read_text()
    assert (defects, log) == ([], "")
