# SPDX-License-Identifier: Apache-2.0
"""The container engine of `make demo DOCKER=1`: find it, build the example's image, choose the network."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from demo.errors import DemoError
from demo.pipeline import EXAMPLE

if TYPE_CHECKING:
    from docker import DockerClient

_HELP = (
    "Start an engine (Debian, Ubuntu: apt-get install docker.io, then `systemctl start docker` or `dockerd`) "
    "or set DOCKER_HOST to one that shares this host's files; or run the demo without: make demo"
)


def scale_options() -> dict[str, str]:
    """Build the example's image and return the options of ``[scale]`` for jobs in containers.

    :raises DemoError: if no engine answers, or the image can't be built.
    """
    client = _client()
    try:
        image = _build(client)
        bridges = [network for network in client.networks.list() if network.attrs.get("Driver") == "bridge"]
    finally:
        client.close()
    options = {"backend": "docker", "allow_process_jobs": "False", "docker_pull": "never"}
    if not bridges:
        options["docker_network_mode"] = "none"
    print(
        f"  image {image}" + ("" if bridges else "; the engine has no bridge, so containers get no network")
    )
    return options


def _client() -> DockerClient:
    import docker
    import docker.errors
    import requests

    where = os.environ.get("DOCKER_HOST") or "the local socket (DOCKER_HOST is not set)"
    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise DemoError(f"No container engine answers at {where}: {error}.", _HELP) from None
    return client


def _build(client: DockerClient) -> str:
    """Build the image as anybody would; where no registry can be reached, from this machine's own files."""
    build = [sys.executable, str(EXAMPLE / "build_image.py")]
    told = ""
    for arguments in ([], ["--from-host"]):
        done = subprocess.run(
            [*build, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode == 0:
            return "scale-airflow/terrain:1.0.0"
        told += done.stdout[-2000:]
    raise DemoError(f"The example's image can't be built:\n{told}", "make demo runs without containers.")
