# SPDX-License-Identifier: Apache-2.0
"""Volumes and the program that puts them together, run as a cluster runs it."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.transfers import Volumes
from scale_airflow.rescale.transfers.volumes import _Sent, _stem, compressed, program, spec_of

NAMES = ["plain.dat", 'it\'s a "$HOME" `id` file; rm -rf x', "ü ß\\n a&&b|c>d {}%s%d", "-rf"]
CONTENT = b"0123456789" * 20_000 + random.Random(1).randbytes(100_000)


def volumes_of(name: str, content: bytes, place: Path, length: int = 90_000) -> Volumes:
    """Lay volumes and program where a job would find them."""
    sent = []
    for number, offset in enumerate(range(0, len(content), length)):
        part = content[offset : offset + length]
        # Two streams one after the other, one compressed and one not.
        data = compressed(part[:50_000], 1) + (compressed(part[50_000:], 0) if part[50_000:] else b"")
        file = RemoteFile(f"v{number}", f"{_stem(name)}.token.v{number:04d}")
        (place / file.name).write_bytes(data)
        sent.append(_Sent(file, offset, len(part), len(data), hashlib.sha512(data).hexdigest()))
    sha512 = hashlib.sha512(content).hexdigest()
    script = RemoteFile("script", f"{_stem(name)}.{sha512[:16]}.assemble.py")
    (place / script.name).write_text(program(name, len(content), sha512, sent[::-1]))
    return Volumes(name, len(content), sha512, (*(each.file for each in sent), script), 1)


def run(place: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_prelude_puts_a_file_of_any_name_together(tmp_path: Path, name: str) -> None:
    volumes = volumes_of(name, CONTENT, tmp_path)
    ended = run(tmp_path, volumes.wrap("echo then '$HOME' | cat"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("then $HOME\n")
    assert (tmp_path / name).read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, volumes.files[-1].name])
    # A job that was interrupted begins its command again.
    assert run(tmp_path, volumes.prelude).returncode == 0
    assert volumes.input_files[0] == {"id": "v0", "decompress": False}


def test_the_volumes_are_gzip_streams(tmp_path: Path) -> None:
    volumes_of("x", CONTENT, tmp_path)
    data = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("x.token.v*")))
    assert gzip.decompress(data) == CONTENT


@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "longer"])
def test_what_is_damaged_never_becomes_the_file(tmp_path: Path, harm: str) -> None:
    volumes = volumes_of("file", CONTENT, tmp_path)
    victim = tmp_path / volumes.files[1].name
    data = victim.read_bytes()
    if harm == "gone":
        victim.unlink()
    elif harm == "cut":
        victim.write_bytes(data[:-100])
    elif harm == "flipped":
        victim.write_bytes(data[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:])
    else:
        victim.write_bytes(data + compressed(b"more" * 10_000, 1))
    ended = run(tmp_path, volumes.wrap("echo the command ran"))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert victim.name in ended.stderr
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "file.assembling").exists()


def test_volumes_of_another_file_are_found_out_at_the_end(tmp_path: Path) -> None:
    volumes = volumes_of("file", CONTENT, tmp_path)
    script = tmp_path / volumes.files[-1].name
    script.write_text(script.read_text().replace(volumes.sha512, "0" * 128))
    ended = run(tmp_path, volumes.prelude)
    assert ended.returncode == 1
    assert "sha512" in ended.stderr
    assert not (tmp_path / "file").exists()


def test_an_empty_file_is_put_together_too(tmp_path: Path) -> None:
    data = compressed(b"", 1)
    (tmp_path / "e.token.v0000").write_bytes(data)
    sent = _Sent(RemoteFile("v0", "e.token.v0000"), 0, 0, len(data), hashlib.sha512(data).hexdigest())
    (tmp_path / "e.py").write_text(program("e", 0, hashlib.sha512().hexdigest(), [sent]))
    assert run(tmp_path, "python3 e.py").returncode == 0
    assert (tmp_path / "e").read_bytes() == b""


def test_the_program_is_of_an_old_python() -> None:
    text = program("x", 0, "", [])
    script = "import ast, sys; ast.parse(sys.stdin.read(), feature_version=(3, 6))"
    subprocess.run([sys.executable, "-c", script], input=text, text=True, check=True)
    assert "__future__ import" not in text.partition('"""')[2].partition('"""')[2]


def test_what_a_program_knows_can_be_read_again() -> None:
    sent = _Sent(RemoteFile("v0", "x.t.v0000"), 0, 5, 7, "ab")
    spec = spec_of(program("na'me\n", 5, "cd", [sent]).encode())
    assert (spec["name"], spec["size"], spec["sha512"]) == ("na'me\n", 5, "cd")
    assert spec["volumes"] == [{"name": "x.t.v0000", "size": 7, "sha512": "ab", "offset": 0, "length": 5}]


@pytest.mark.parametrize(
    "text", [b"", b"SPEC = 1\n", b"SPEC = (\n", b"SPEC = '{}'\n", b"SPEC = '{\"volumes\": [1]}'\n", b"\xff"]
)
def test_a_program_that_is_none_tells_nothing(text: bytes) -> None:
    assert spec_of(text) == {}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_volumes_need_no_quotes(name: str) -> None:
    assert set(_stem(name)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert _stem(name)[0] not in ".-"
