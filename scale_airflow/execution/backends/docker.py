# SPDX-License-Identifier: Apache-2.0
"""Jobs as containers of the host's Docker engine."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import requests
from docker import APIClient
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import DockerException, NotFound

from scale_airflow import crash_points
from scale_airflow.config import Settings
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends.base import Checkpoint, JobRun, Output
from scale_airflow.execution.backends.container import ContainerJob, explanation
from scale_airflow.execution.backends.container_options import (
    AGENT_LABEL,
    EXECUTION_LABEL,
    container_options,
    host_options,
    place_mount_points,
)
from scale_airflow.execution.command import build_argv
from scale_airflow.execution.order import ExecutionOrder

Connect = Callable[[], APIClient]
KILLED = "killed"
"""Name of the file in the scratch folder that says: the container was killed, nobody may go on with it."""
_ENGINE_PATIENCE = 60.0
_PROBE = 5.0

log = logging.getLogger(__name__)


class DockerBackend:
    """Runs jobs as containers.

    :param connect: returns a new client of the engine; raises :class:`DockerException`.
    :param connect_for_pull: returns, for an image's name, a client that is logged in to its registry.
    :param agent_id: the id of this host's agent, as label on every container.
    """

    name = "docker"

    def __init__(
        self,
        settings: Settings,
        connect: Connect,
        *,
        agent_id: str,
        connect_for_pull: Callable[[str], APIClient] | None = None,
    ):
        self._settings = settings
        self._connect = connect
        self._connect_for_pull = connect_for_pull or (lambda image: connect())
        self._agent_id = agent_id
        self._has_entrypoint = False
        self._client: APIClient | None = None

    def prepare(self, order: ExecutionOrder, checkpoint: Checkpoint) -> dict[str, Any]:
        """Have the image on the host, pulled as ``[scale] docker_pull`` says; see :class:`Backend`."""
        if not order.image:
            raise ExecutionFailure("The job type has no Docker image, so it can't run in a container.")
        self._client = client = self._reach_engine(checkpoint)
        try:
            facts = self._image(client, order.image, checkpoint)
        except (DockerException, requests.RequestException) as error:
            raise ExecutionFailure(f"The image {order.image} can't be used: {explanation(error)}") from error
        self._has_entrypoint = bool((facts.get("Config") or {}).get("Entrypoint"))
        digests = facts.get("RepoDigests") or []
        name = order.image.partition("@")[0]
        return {"image": digests[0] if digests else f"{name}@{facts['Id']}"}

    def adopt(self, run: JobRun, output: Output) -> ContainerJob | None:
        """Take over the execution's container, running or ended; see :class:`Backend`."""
        if not run.scratch.root.exists():
            return None  # nobody has begun here
        client = self._engine()
        wanted = [f"{EXECUTION_LABEL}={run.order.execution_id}", f"{AGENT_LABEL}={self._agent_id}"]
        try:
            found = client.containers(all=True, filters={"label": wanted})
            usable = [each for each in found if each["State"] in ("running", "paused", "exited")]
            if (run.scratch.root / KILLED).exists():
                usable = []
            for each in found:
                if each not in usable[:1]:
                    log.info("Removing the left container %s", each["Id"][:12])
                    crash_points.reach("docker.remove_left.before")
                    client.remove_container(each["Id"], force=True, v=True)
                    crash_points.reach("docker.remove_left.after")
        except (DockerException, requests.RequestException) as error:
            raise ExecutionFailure(f"The Docker engine fails: {explanation(error)}") from error
        (run.scratch.root / KILLED).unlink(missing_ok=True)
        if not usable:
            return None
        log.info("Going on with container %s, which an earlier worker started", usable[0]["Id"][:12])
        crash_points.reach("docker.adopt.before")
        job = self._job(usable[0]["Id"], run, output)
        job.started_at = float(usable[0]["Created"])
        if usable[0]["State"] == "exited":
            try:
                job.note_end()
            except (DockerException, requests.RequestException) as error:
                raise ExecutionFailure(f"The Docker engine fails: {explanation(error)}") from error
        job.follow_from_start()
        crash_points.reach("docker.adopt.after")
        return job

    def start(self, run: JobRun, output: Output) -> ContainerJob:
        """Create and start the container; see :class:`Backend`."""
        client = self._engine()
        command = build_argv(run.interface, list(run.arguments), has_entrypoint=self._has_entrypoint)
        cpus = run.order.cpus
        crash_points.reach("docker.mount_points.before")
        place_mount_points(run)
        crash_points.reach("docker.mount_points.after")
        try:
            host = host_options(
                run,
                network_mode=self._settings.docker_network_mode,
                engine_cpus=int(client.info().get("NCPU") or 1) if cpus > 1 else 1,
            )
            crash_points.reach("docker.create.before")
            created = client.create_container(
                image=run.order.image,
                command=command,
                host_config=client.create_host_config(**host),
                **container_options(run, agent_id=self._agent_id),
            )
        except (DockerException, requests.RequestException) as error:
            raise ExecutionFailure(f"The container can't be made: {explanation(error)}") from error
        crash_points.reach("docker.create.after")
        log.info("Container %s of image %s", created["Id"][:12], run.order.image)
        job = self._job(created["Id"], run, output)
        try:
            crash_points.reach("docker.start.before")
            job.start()
            crash_points.reach("docker.start.after")
        except BaseException:
            job.close()
            raise
        return job

    def close(self) -> None:
        """Close the connection to the engine; see :class:`Backend`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _job(self, container_id: str, run: JobRun, output: Output) -> ContainerJob:
        return ContainerJob(self._connect, container_id, output, killed_note=run.scratch.root / KILLED)

    def _engine(self) -> APIClient:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _reach_engine(self, checkpoint: Checkpoint) -> APIClient:
        """Return a client, waiting a little for an engine that is being restarted."""
        give_up = time.monotonic() + _ENGINE_PATIENCE
        while True:
            checkpoint()
            try:
                client = self._connect()
                client.ping()
                return client
            except (DockerException, requests.RequestException) as error:
                if time.monotonic() > give_up:
                    raise ExecutionFailure(
                        f"The Docker engine of this host can't be reached: {explanation(error)} "
                        "Start it, or set [scale] docker_url."
                    ) from error
                log.warning("The Docker engine can't be reached, trying on: %s", explanation(error))
            time.sleep(1.0)

    def _image(self, client: APIClient, image: str, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the image's facts, after a pull where the policy asks for one."""
        policy = self._settings.docker_pull
        facts = _inspect(client, image)
        if policy == "always" or (policy == "missing" and facts is None):
            try:
                self._pull(image, checkpoint)
            except (DockerException, requests.RequestException) as error:
                if facts is None:
                    raise
                log.warning("The image %s can't be pulled, using the host's: %s", image, explanation(error))
            facts = _inspect(client, image)
        if facts is None:
            raise ExecutionFailure(
                f"The image {image} is not on this host, and [scale] docker_pull = {policy} did not bring it."
            )
        return facts

    def _pull(self, image: str, checkpoint: Checkpoint) -> None:
        log.info("Pulling image %s", image)
        client = self._connect_for_pull(image)
        try:
            seen: dict[str, str] = {}
            for step in client.pull(image, stream=True, decode=True):
                checkpoint()
                if "error" in step:
                    raise DockerException(str(step["error"]))
                status, layer = str(step.get("status", "")), str(step.get("id", ""))
                if status and seen.get(layer) != status:
                    seen[layer] = status
                    log.info("%s%s", f"{layer}: " if layer else "", status)
        finally:
            client.close()


def _inspect(client: APIClient, image: str) -> dict[str, Any] | None:
    try:
        return dict(client.inspect_image(image))  # type: ignore[no-untyped-call]
    except NotFound:
        return None


def engine_url(docker_url: str) -> str:
    """Return the engine's address: ``[scale] docker_url``, else ``DOCKER_HOST``, else the local socket."""
    return docker_url or os.environ.get("DOCKER_HOST") or DEFAULT_UNIX_SOCKET


def connector(docker_url: str) -> Connect:
    """Return what makes one job's clients: only the first asks which version of its API to speak."""
    version = "auto"

    def connect_on() -> APIClient:
        nonlocal version
        client = connect(docker_url, version)
        version = client.api_version
        return client

    return connect_on


def connect(docker_url: str, version: str = "auto") -> APIClient:
    """Return a new client of the engine (see :func:`engine_url`).

    :param version: of the engine's API; "auto" asks it.
    :raises DockerException: if it can't be reached.
    """
    url = engine_url(docker_url)
    scheme, _, place = url.partition("://")
    if scheme in ("unix", "http+unix"):
        # docker-py leaves a socket open for each connection that is refused, so ask by hand first.
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PROBE)
                probe.connect("/" + place.lstrip("/"))
        except OSError as error:
            raise DockerException(f"{url}: {error.strerror or error}") from None
    return APIClient(base_url=url, version=version)
