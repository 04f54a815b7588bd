# SPDX-License-Identifier: Apache-2.0
"""The configuration of a job type's executions."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_type_configuration import (
    DOCKER_PARAMETERS,
    JobTypeConfiguration,
    RemoteSettings,
)
from scale_airflow.errors import InvalidDocument

VALUES = {
    "add-host": "tiles:10.0.0.7",
    "dns": "10.0.0.1",
    "dns-search": "example.org",
    "hostname": "node-1",
    "label": "team=terrain",
    "ulimit": "nofile=1024:2048",
    "user": "1000:1000",
    "workdir": "/work",
}


def told(document: object) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        JobTypeConfiguration.parse(document)
    return [fault.path for fault in caught.value.faults]


def test_everything() -> None:
    found = JobTypeConfiguration.parse(load("job-type-configuration.everything"))
    assert found.env_vars == {"GDAL_CACHEMAX": "256"}
    assert (found.shared_mem_required, found.gpus_required) == (64, 1)
    assert found.docker_params == (("ulimit", "nofile=1024:2048"), ("add-host", "tiles:10.0.0.7"))
    assert found.remote == RemoteSettings(
        "rescale", "rescale_default", {"code": "user_included"}, {"coreType": "emerald"}
    )


@pytest.mark.parametrize("document", [None, {}])
def test_nothing(document: object) -> None:
    found = JobTypeConfiguration.parse(document)
    assert (found.env_vars, found.shared_mem_required, found.gpus_required) == ({}, 0, 0)
    assert (found.docker_params, found.remote) == ((), None)


@pytest.mark.parametrize("name", DOCKER_PARAMETERS)
def test_docker_parameters(name: str) -> None:
    found = JobTypeConfiguration.parse({"docker_params": [[name, VALUES[name]]]})
    assert found.docker_params == ((name, VALUES[name]),)
    assert told({"docker_params": [[name, ""]]}) == ["/docker_params/0/1"]


@pytest.mark.parametrize(
    "name",
    ["volume", "privileged", "network", "pid", "cap-add", "device", "security-opt", "mount", "DNS", "--dns"],
)
def test_parameters_that_open_the_host_are_refused(name: str) -> None:
    assert told({"docker_params": [["dns", "10.0.0.1"], [name, "x"]]}) == ["/docker_params/1/0"]


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({"env_vars": {"1A": "x", "A-B": "x", "": "x"}}, ["/env_vars/1A", "/env_vars/A-B", "/env_vars/"]),
        ({"env_vars": {"A": 5}}, ["/env_vars/A"]),
        ({"gpus_required": 1.0}, ["/gpus_required"]),
        ({"gpus_required": True}, ["/gpus_required"]),
        ({"shared_mem_required": -1}, ["/shared_mem_required"]),
        (
            {"docker_params": [["dns"], "x", ["dns", 5]]},
            ["/docker_params/0", "/docker_params/1", "/docker_params/2/1"],
        ),
        ({"remote": {}}, ["/remote"]),
        ({"remote": {"type": "aws"}}, ["/remote/type"]),
        ({"priority": 1}, ["/priority"]),
    ],
)
def test_wrong_fields(document: dict[str, Any], places: list[str]) -> None:
    assert told(document) == places


def test_values_of_variables_are_not_shown() -> None:
    with pytest.raises(InvalidDocument) as caught:
        JobTypeConfiguration.parse({"env_vars": {"PASSWORD": 4711}})
    assert "4711" not in str(caught.value)
    assert "hunter2" not in repr(JobTypeConfiguration.parse({"env_vars": {"PASSWORD": "hunter2"}}))
