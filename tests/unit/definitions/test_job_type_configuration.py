# SPDX-License-Identifier: Apache-2.0
"""The configuration of a job type's executions."""

from __future__ import annotations

from typing import Any

import pytest
from unit.definitions.samples import load

from scale_airflow.definitions.job_type_configuration import DOCKER_PARAMETERS, JobTypeConfiguration
from scale_airflow.definitions.remote_settings import RemoteHardware, RemoteSettings
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
    assert found.remote is None


def test_remote() -> None:
    found = JobTypeConfiguration.parse(load("job-type-configuration.remote")).remote
    assert found == RemoteSettings(
        type="rescale",
        connection="rescale_eu",
        analysis_code="user_included",
        analysis_version="0",
        hardware=RemoteHardware("cheapest", "hpc-plus", cores_per_slot=4, slots=2, walltime=3),
        project="project-1",
        low_priority=True,
        max_cost=12.5,
    )
    least = JobTypeConfiguration.parse({"remote": {"type": "rescale"}}).remote
    assert least == RemoteSettings("rescale")
    assert (least.connection, least.hardware.core_type) == ("rescale_default", "cheapest")


@pytest.mark.parametrize(
    ("hours", "timeout", "wanted"), [(None, 1800, 1), (None, 3601, 2), (None, 0, None), (5, 0, 5), (5, 60, 5)]
)
def test_the_walltime_follows_from_the_timeout(hours: int | None, timeout: int, wanted: int | None) -> None:
    settings = RemoteSettings("rescale", hardware=RemoteHardware(walltime=hours))
    assert settings.walltime_hours(timeout) == wanted


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
        ({"remote": {"type": "rescale", "analysis": {}}}, ["/remote/analysis"]),
        ({"remote": {"type": "rescale", "analysis": {"code": "a b"}}}, ["/remote/analysis/code"]),
        (
            {"remote": {"type": "rescale", "hardware": {"coretype": "x", "slots": 0, "walltime": 1.5}}},
            ["/remote/hardware/coretype", "/remote/hardware/slots", "/remote/hardware/walltime"],
        ),
        (
            {"remote": {"type": "rescale", "max_cost": 0, "project": ""}},
            ["/remote/max_cost", "/remote/project"],
        ),
        (
            {
                "shared_mem_required": 1,
                "gpus_required": 1,
                "docker_params": [["dns", "10.0.0.1"]],
                "remote": {"type": "rescale"},
            },
            ["/shared_mem_required", "/gpus_required", "/docker_params"],
        ),
        (
            {"gpus_required": 0, "docker_params": [], "remote": {"type": "rescale", "slots": 2}},
            ["/remote/slots"],
        ),
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
