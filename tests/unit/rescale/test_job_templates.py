# SPDX-License-Identifier: Apache-2.0
"""A saved job as the template of a new one."""

from __future__ import annotations

import json

from unit.rescale.test_models import FILE, JOB

from scale_airflow.rescale.job_templates import body_of, merged
from scale_airflow.rescale.models import Job

SAVED = {
    **JOB,
    "name": "Wing [airflow-0123456789abcdef-01234567]",
    "dateInserted": "2026-01-01T00:00:00Z",
    "sharedWith": [],
    "clusterId": "abc",
    "customFields": {},
    "storageDevices": [{"id": "d"}],
    "tags": ["airflow-0123456789abcdef", "wing"],
    "paramFile": FILE,
    "caseFile": None,
    "jobvariables": [{"id": "v", "name": "x", "variableType": "Param"}],
    "futureSetting": {"on": True},
    "jobanalyses": [
        {
            **JOB["jobanalyses"][0],  # type: ignore[index]
            "id": "analysis-of-the-old-job",
            "hardware": {
                "coreType": {"code": "hpc-3", "name": "HPC"},
                "coresPerSlot": 2,
                "walltime": 750,
                "coreSummary": {"numberOfNodes": 1.0},
            },
            "inputFiles": [{**FILE, "decompress": False}, {"id": "b"}],
            "templateTasks": [{"id": "t", "processedFilename": "in.txt", "templateFile": FILE}],
            "preProcessScript": FILE,
            "postProcessScript": None,
            "envVars": {"A": "1"},
        }
    ],
}


def test_what_the_author_wrote_stays() -> None:
    body = body_of(Job.from_document(SAVED))
    assert body == {
        "name": "Wing",
        "isLowPriority": False,
        "tags": ["wing"],
        "paramFile": {"id": "yMqdxd"},
        "jobvariables": [{"name": "x", "variableType": "Param"}],
        "futureSetting": {"on": True},
        "jobanalyses": [
            {
                "analysis": {"code": "ls_dyna", "version": "9.0.0"},
                "hardware": {"coreType": "hpc-3", "coresPerSlot": 2, "walltime": 750},
                "command": "ls-dyna -n 2",
                "inputFiles": [{"id": "yMqdxd", "decompress": False}, {"id": "b"}],
                "templateTasks": [{"processedFilename": "in.txt", "templateFile": {"id": "yMqdxd"}}],
                "preProcessScript": {"id": "yMqdxd"},
                "envVars": {"A": "1"},
            }
        ],
    }
    assert "encodedEncryptionKey" not in json.dumps(body)
    assert body_of({**SAVED, "id": "new"}) == body


def test_a_template_of_a_template_is_the_same() -> None:
    body = body_of(SAVED)
    assert body_of({**body, "id": "J"}) == body


def test_changes() -> None:
    body = body_of(SAVED)
    changed = merged(
        body,
        {
            "name": "Other",
            "tags": None,
            "jobanalyses": [{"hardware": {"walltime": 4}, "inputFiles": [{"id": "z"}]}],
        },
    )
    assert (changed["name"], "tags" in changed) == ("Other", False)
    (analysis,) = changed["jobanalyses"]
    assert analysis["hardware"] == {"coreType": "hpc-3", "coresPerSlot": 2, "walltime": 4}
    assert analysis["inputFiles"] == [{"id": "z"}]
    assert analysis["command"] == "ls-dyna -n 2"
    assert body == body_of(SAVED)
    assert len(merged(body, {"jobanalyses": [{}, {"command": "second"}]})["jobanalyses"]) == 2
    assert merged(body, {"jobanalyses": []})["jobanalyses"] == body["jobanalyses"]
