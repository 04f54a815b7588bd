# SPDX-License-Identifier: Apache-2.0
"""Puts a file together from its volumes, in a job: the text of this module is sent there with the volumes.

It stands alone, on whatever Python from 3.6 on a cluster has (so there is no ``from __future__ import
annotations``, which 3.7 brought), and may run again after it was interrupted.
Each volume is a gzip stream of its own: ``cat NAME.v* | gzip -d`` does the same without the checks.
"""

import hashlib
import json
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

BLOCK = 1 << 20


def main(text: str) -> int:
    """Put the file together that the document describes; return the exit code."""
    spec = json.loads(text)
    name, size = spec["name"], spec["size"]
    volumes = spec["volumes"]
    if os.path.isfile(name) and os.path.getsize(name) == size and sha512_of(name) == spec["sha512"]:
        remove(volumes)
        print(f"{name} is there already.")
        return 0
    missing = [volume["name"] for volume in volumes if not os.path.isfile(volume["name"])]
    if missing:
        return fail(f"{name}: of {len(volumes)} volumes there are missing: {', '.join(missing)}")
    part = name + ".assembling"
    with open(part, "wb") as file:
        file.truncate(size)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        problems = [problem for problem in pool.map(lambda volume: unpack(part, volume), volumes) if problem]
    if problems:
        os.remove(part)
        return fail("; ".join(problems))
    found = sha512_of(part)
    if found != spec["sha512"]:
        os.remove(part)
        return fail(f"{name}: the sha512 is {found}, not {spec['sha512']}")
    os.chmod(part, 0o755)  # noqa: S103 - as that of every input
    os.replace(part, name)
    remove(volumes)
    print(f"{name}: {size} bytes put together from {len(volumes)} volumes.")
    return 0


def unpack(part: str, volume: dict) -> str:  # type: ignore[type-arg]
    """Write what a volume holds to its place; return what is wrong with it, "" if nothing."""
    position, end = volume["offset"], volume["offset"] + volume["length"]
    digest = hashlib.sha512()
    stream = zlib.decompressobj(31)
    with open(volume["name"], "rb") as source, open(part, "r+b") as target:
        target.seek(position)
        try:
            for block in iter(lambda: source.read(BLOCK), b""):
                digest.update(block)
                while block:
                    data = stream.decompress(block)
                    position += len(data)
                    if position > end:
                        return f"{volume['name']} holds more than it should"
                    target.write(data)
                    block = stream.unused_data
                    if stream.eof:
                        stream = zlib.decompressobj(31)
        except zlib.error as error:
            return f"{volume['name']} is damaged: {error}"
    if position != end or digest.hexdigest() != volume["sha512"]:
        return f"{volume['name']} is damaged"
    return ""


def sha512_of(path: str) -> str:
    """Return the checksum of a file."""
    digest = hashlib.sha512()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def remove(volumes: list) -> None:  # type: ignore[type-arg]
    """Delete the volumes, which nobody needs any more."""
    for volume in volumes:
        if os.path.exists(volume["name"]):
            os.remove(volume["name"])


def fail(problem: str) -> int:
    """Say what is wrong; return the exit code."""
    sys.stderr.write(f"The input can't be put together. {problem}\n")
    return 1
