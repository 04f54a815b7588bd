# SPDX-License-Identifier: Apache-2.0
"""Bodies of jobs from templates, documents and single values."""

from __future__ import annotations

import subprocess

import pytest

from scale_airflow.errors import InvalidDocument
from scale_airflow.rescale.job_body import (
    check,
    merge,
    single_analysis,
    template_of,
    with_exit_codes,
    with_inputs,
    with_marker,
)
from scale_airflow.rescale.models import Job
from scale_airflow.rescale.submission import Marker

SAVED = {
    "id": "abc",
    "owner": "jane@example.com",
    "dateInserted": "2026-01-01T00:00:00Z",
    "expectedRuns": 1,
    "name": "Saved",
    "isLowPriority": True,
    "projectId": None,
    "tags": [{"name": "wing"}],
    "paramFile": {"id": "p1", "name": "cases.csv", "encodedEncryptionKey": "secret"},
    "jobanalyses": [
        {
            "id": 7,
            "command": "run ${x} -n 4",
            "analysis": {"code": "openfoam", "version": "v2206", "name": "OpenFOAM"},
            "hardware": {
                "coreType": {"code": "emerald", "name": "Emerald"},
                "coresPerSlot": 4,
                "slots": 1,
                "walltime": 2,
                "isCustom": False,
            },
            "inputFiles": [{"id": "f1", "name": "in.zip", "decompress": False}],
            "envVars": {"A": "1"},
            "preProcessScript": None,
        }
    ],
}


def test_a_saved_job_is_a_template_without_its_own_history():
    body = template_of(Job.from_document(SAVED))
    assert body == {
        "name": "Saved",
        "isLowPriority": True,
        "tags": ["wing"],
        "paramFile": {"id": "p1"},
        "jobanalyses": [
            {
                "command": "run ${x} -n 4",
                "analysis": {"code": "openfoam", "version": "v2206"},
                "hardware": {"coreType": "emerald", "coresPerSlot": 4, "slots": 1, "walltime": 2},
                "inputFiles": [{"id": "f1", "decompress": False}],
                "envVars": {"A": "1"},
            }
        ],
    }
    assert check(body) == []


def test_changes_merge_into_a_template():
    body = template_of(Job.from_document(SAVED))
    merged = merge(
        body,
        {
            "name": "Mine",
            "tags": ["b"],
            "jobanalyses": [{"command": "other", "hardware": {"coresPerSlot": 8}, "envVars": {"B": "2"}}],
        },
    )
    row = merged["jobanalyses"][0]
    assert (merged["name"], merged["tags"], row["command"]) == ("Mine", ["b"], "other")
    assert row["hardware"] == {"coreType": "emerald", "coresPerSlot": 8, "slots": 1, "walltime": 2}
    assert row["envVars"] == {"A": "1", "B": "2"}
    assert body["jobanalyses"][0]["command"] == "run ${x} -n 4"
    two = merge({"jobanalyses": [{"a": 1}, {"b": 2}]}, {"jobanalyses": [{"c": 3}]})
    assert two == {"jobanalyses": [{"a": 1, "c": 3}, {"b": 2}]}


def test_single_values_make_a_body():
    body = single_analysis(
        name="n",
        analysis="openfoam:v2206",
        command="true",
        env_vars={"A": "1"},
        project_id="P",
        low_priority=False,
        hardware={"coreType": "emerald", "coresPerSlot": 2, "walltime": None},
    )
    assert body == {
        "name": "n",
        "projectId": "P",
        "isLowPriority": False,
        "jobanalyses": [
            {
                "analysis": {"code": "openfoam", "version": "v2206"},
                "command": "true",
                "envVars": {"A": "1"},
                "hardware": {"coreType": "emerald", "coresPerSlot": 2},
            }
        ],
    }
    assert single_analysis() == {}
    assert single_analysis(analysis={"code": "x"})["jobanalyses"][0]["analysis"] == {"code": "x"}


def test_every_fault_is_told_at_once():
    with pytest.raises(InvalidDocument) as caught:
        check({"jobanalyses": [{"hardware": {}}, {"analysis": {"code": "x"}, "command": "y"}, "z"]})
    assert [fault.path for fault in caught.value.faults] == [
        "/name",
        "/jobanalyses/0/analysis/code",
        "/jobanalyses/0/command",
        "/jobanalyses/0/hardware/coreType",
        "/jobanalyses/0/hardware/coresPerSlot",
        "/jobanalyses/1/hardware",
        "/jobanalyses/2",
    ]
    with pytest.raises(InvalidDocument, match="at least one"):
        check({"name": "n"})


def test_slips_are_told_with_what_was_meant():
    body = template_of(Job.from_document(SAVED))
    body["project_id"] = "P"
    body["jobanalyses"][0]["envvars"] = {}
    slips = check(body)
    assert len(slips) == 2
    assert "/project_id" in slips[0]
    assert "did you mean projectId?" in slips[0]
    assert "did you mean envVars?" in slips[1]


def test_inputs_go_to_their_analysis():
    body = {"jobanalyses": [{"inputFiles": [{"id": "a"}]}, {}]}
    made = with_inputs(body, [(0, {"id": "b"}), (1, {"id": "c", "decompress": False})])
    assert made["jobanalyses"] == [
        {"inputFiles": [{"id": "a"}, {"id": "b"}]},
        {"inputFiles": [{"id": "c", "decompress": False}]},
    ]
    assert body["jobanalyses"][1] == {}
    with pytest.raises(InvalidDocument, match="no analysis 2"):
        with_inputs(body, [(2, {"id": "d"})])


def test_the_marker_is_in_name_and_tags():
    marker = Marker("0123456789abcdef", "01234567")
    made = with_marker({"name": "n", "tags": ["a", marker.tag]}, marker)
    assert made["name"] == "n [airflow-0123456789abcdef-01234567]"
    assert made["tags"] == ["a", marker.tag]


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("exit 3", 3), ("cd /; false", 1), ("true # comment", 0), ("# ", 0)]
)
def test_a_command_leaves_its_exit_code_and_ends_with_it(command, code, tmp_path):
    made = with_exit_codes({"jobanalyses": [{"command": command}]})
    done = subprocess.run(["bash", "-c", made["jobanalyses"][0]["command"]], cwd=tmp_path, check=False)
    assert done.returncode == code
    assert (tmp_path / ".airflow_exit_code.0").read_text() == f"{code}\n"
