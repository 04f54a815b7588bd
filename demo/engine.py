# SPDX-License-Identifier: Apache-2.0
"""The container engine of `make demo DOCKER=1`: find it, build the example's image, choose the network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from demo.errors import DemoError
from demo.pipeline import EXAMPLE

if TYPE_CHECKING:
    from docker import DockerClient

_HELP = (
    "Start an engine (Debian, Ubuntu: apt-get install docker.io, then `systemctl start docker` or `dockerd`) "
    "or set DOCKER_HOST to one that shares this host's files; or run the demo without: make demo"
)


def scale_options(url: str | None = None, *, from_host_only: bool = False) -> dict[str, str]:
    """Build the example's image and return the options of ``[scale]`` for jobs in containers.

    :param url: the engine's address; by default what ``DOCKER_HOST`` says, else the local socket.
    :param from_host_only: do not even try a registry of images.
    :raises DemoError: if no engine answers, or the image can't be built.
    """
    url = url or os.environ.get("DOCKER_HOST") or None
    client = _client(url)
    try:
        image = _build(url, ["--from-host"] if from_host_only else ["", "--from-host"])
        bridges = [network for network in client.networks.list() if network.attrs.get("Driver") == "bridge"]
    finally:
        client.close()
    options = {"backend": "docker", "allow_process_jobs": "False", "docker_pull": "never"}
    if url:
        options["docker_url"] = url
    if not bridges:
        options["docker_network_mode"] = "none"
    print(
        f"  image {image}" + ("" if bridges else "; the engine has no bridge, so containers get no network")
    )
    return options


def _client(url: str | None) -> DockerClient:
    import docker
    import docker.errors
    import requests

    try:
        client = docker.DockerClient(base_url=url, timeout=60) if url else docker.from_env(timeout=60)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        where = url or "the local socket (DOCKER_HOST is not set)"
        raise DemoError(f"No container engine answers at {where}: {error}.", _HELP) from None
    return client


def _build(url: str | None, ways: Sequence[str]) -> str:
    """Build the image as anybody would; where no registry can be reached, from this machine's own files."""
    build = [sys.executable, str(EXAMPLE / "build_image.py")]
    environment = {**os.environ, **({"DOCKER_HOST": url} if url else {})}
    told = ""
    for way in ways:
        done = subprocess.run(
            [*build, *([way] if way else [])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return "scale-airflow/terrain:1.0.0"
        told += done.stdout[-2000:]
    raise DemoError(f"The example's image can't be built:\n{told}", "make demo runs without containers.")
