# SPDX-License-Identifier: Apache-2.0
"""Bodies of jobs: single values, inputs, markers, exit codes, and the check."""

from __future__ import annotations

import copy
import subprocess

import pytest

from scale_airflow.errors import InvalidDocument
from scale_airflow.rescale.job_body import (
    check,
    single_analysis,
    with_exit_codes,
    with_inputs,
    with_marker,
)
from scale_airflow.rescale.submission import Marker

BODY = {
    "name": "Wing",
    "jobanalyses": [
        {
            "command": "run ${x} -n 4",
            "analysis": {"code": "openfoam", "version": "v2206"},
            "hardware": {"coreType": "emerald", "coresPerSlot": 4, "slots": 1, "walltime": 2},
        }
    ],
}


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
    assert check(BODY) == []
    body = copy.deepcopy(BODY)
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
