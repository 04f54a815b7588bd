#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build the container image of the terrain example's algorithms.

Where an image registry can be reached, this is just `docker build examples/terrain`. Where none can be,
--from-host first makes a base image from this machine's Python and the packages that are installed beside
it, and then builds the same Dockerfile on top of it without any network.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from host_root import HostError, collect

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

IMAGE = "scale-airflow/terrain:1.0.0"
HOST_BASE = "scale-airflow/terrain-base:host"
DIGEST_LABEL = "scale-airflow.host-root"
PACKAGES = ("numpy", "rasterio", "scipy", "pip", "setuptools")
"""What the example's pyproject.toml asks for, and what pip needs to install it without an index."""

OFFLINE = "--no-index --no-build-isolation"


def build(client: DockerClient, base: str | None, tag: str = IMAGE) -> Image:
    """Build the image on a base image, or on one made from this machine where ``base`` is None.

    Raises:
        HostError: this machine lacks something; the message says what to do.
        docker.errors.DockerException: the engine could not build.
    """
    arguments, network = {}, None
    if base is None:
        arguments = {"BASE_IMAGE": import_host_base(client), "PIP_OPTIONS": OFFLINE}
        network = "none"
    elif base:
        arguments = {"BASE_IMAGE": base}
    image, _ = client.images.build(
        path=str(Path(__file__).resolve().parent),
        tag=tag,
        buildargs=arguments,
        network_mode=network,
        rm=True,
        forcerm=True,
    )
    # A missing shared library would show only here, not while pip installs.
    client.containers.run(tag, ["terrain-hillshade", "--help"], remove=True, network_mode="none")
    return image


def import_host_base(client: DockerClient) -> str:
    """Make the base image from this machine, unless the engine has it from exactly these files."""
    import docker.errors

    root = collect(PACKAGES)
    digest = root.digest()
    try:
        if client.images.get(HOST_BASE).labels.get(DIGEST_LABEL) == digest:
            return HOST_BASE
    except docker.errors.ImageNotFound:
        pass
    repository, _, tag = HOST_BASE.partition(":")
    changes = [f"ENV PATH={':'.join(root.search_path)}", f"LABEL {DIGEST_LABEL}={digest}", 'CMD ["/bin/sh"]']
    with tempfile.NamedTemporaryFile(prefix="terrain-base-", suffix=".tar") as tar:
        root.write_tar(tar)
        tar.flush()
        client.api.import_image_from_file(tar.name, repository=repository, tag=tag, changes=changes)
    # The engine answers an import with a stream that may end in an error; what counts is that it is there.
    client.images.get(HOST_BASE)
    return HOST_BASE


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The engine is the one that DOCKER_HOST names, else the local one.",
    )
    parser.add_argument("--tag", default=IMAGE, help="name of the image (default: %(default)s)")
    base = parser.add_mutually_exclusive_group()
    base.add_argument(
        "--base",
        default="",
        metavar="IMAGE",
        help="base image with Python and pip (default: the Dockerfile's)",
    )
    base.add_argument("--from-host", action="store_true", help="make the base image from this machine")
    options = parser.parse_args()
    try:
        import docker
        import docker.errors
        import requests
    except ImportError as error:
        print(f"build_image.py: {error}; install it with: pip install docker", file=sys.stderr)
        return 1
    try:
        client = docker.from_env(timeout=600)
        image = build(client, None if options.from_host else options.base, options.tag)
    except docker.errors.BuildError as error:
        for line in error.build_log:
            print(line.get("stream", "").rstrip(), file=sys.stderr)
        hint = "" if options.from_host else "; where no image registry can be reached, use --from-host"
        print(f"build_image.py: {error}{hint}", file=sys.stderr)
        return 1
    except HostError as error:
        print(f"build_image.py: {error}", file=sys.stderr)
        return 1
    except (docker.errors.DockerException, requests.RequestException) as error:
        hint = "start an engine, or set DOCKER_HOST to one that runs"
        print(f"build_image.py: the engine failed: {error}; {hint}", file=sys.stderr)
        return 1
    print(f"{options.tag}: {image.id}, {image.attrs['Size'] / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
