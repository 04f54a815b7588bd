# SPDX-License-Identifier: Apache-2.0
"""What a job leaves behind that is no result is said at that job; nothing is stored, the next one runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from process_bench import Bench
from unit.execution.fake_runtime import FakeRuntime

from scale_airflow.definitions.json_values import check_values
from scale_airflow.execution.order import OrderOutput

OUTPUT = (OrderOutput("out", "file", True, None, 1),)
BEGIN = """
import json, os, socket, sys
os.chdir(sys.argv[1])

def manifest(path):
    document = {"version": "1.1", "output_data": [{"name": "out", "file": {"path": path}}]}
    json.dump(document, open("results_manifest.json", "w"))

def write(data):
    open("results_manifest.json", "wb").write(data)

"""


@pytest.fixture
def then_all_is_well(bench: Bench, runtime: FakeRuntime) -> Iterator[None]:
    """After the test, the next job runs as if nothing had been."""
    yield
    runtime.requests.clear()
    order = bench.order(
        BEGIN + "open('a', 'w').write('fine'); manifest('a')", "${job_output_dir}", outputs=OUTPUT
    )
    bench.run(order)
    assert (bench.root / "data" / order.output_path / "a").read_text() == "fine"
    bench.completion()


@pytest.mark.usefixtures("then_all_is_well")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("manifest('/etc/hostname')", "not inside the job's output directory"),
        ("manifest('../../worker.json')", "no file inside the job's output directory"),
        ("os.symlink('/etc/hostname', 'a'); manifest('a')", "leads out"),
        ("os.symlink('/etc', 'd'); manifest('d/hostname')", "leads out"),
        (
            "os.rmdir(sys.argv[1]); os.symlink('/etc', sys.argv[1]); print('ARTIFACT:out:hostname')",
            "took its output",
        ),
        ("os.mkfifo('a'); manifest('a')", "a pipe, not a regular file"),
        ("socket.socket(socket.AF_UNIX).bind('a'); manifest('a')", "a socket, not a regular file"),
        ("os.mkdir('a'); manifest('a')", "a directory, not a regular file"),
        ("open('a', 'wb').truncate(10 << 30); manifest('a')", "10240 MiB long, of which 0 MiB are no holes"),
        (r"open('a\nb', 'w'); manifest('a\nb')", "contains a control character"),
        (r"manifest('a\0b')", "NUL"),
        (r"open(b'\xff', 'w'); manifest('\udcff')", "surrogate"),
        (r"open(b'\xff', 'w'); os.write(1, b'ARTIFACT:out:\xff\n')", "not valid UTF-8"),
        (r"os.write(1, b'ARTIFACT:out:a\0b\n')", "NUL"),
        (r"write(b'\xff\xfe{}')", "not UTF-8 text: byte 0 is wrong"),
        (r"write(b'{\"version\": \"1.1\", \"info\": [\"\\u0000\"]}')", "NUL"),
        (r"write(b'{\"version\": \"1.1\", \"info\": [\"\\ud800\"]}')", "surrogate"),
        (
            r"write(b'[\"' + b'x' * 50_000_000 + b'\"]')",
            "has 50000004 bytes; at most 10485760 (10 MiB) are read",
        ),
        ("write(b'[' * 1_000_000)", "results_manifest.json can't be read"),
    ],
)
def test_bad_results(bench: Bench, tmp_path: Path, program: str, words: str) -> None:
    order = bench.order(BEGIN + program, "${job_output_dir}", outputs=OUTPUT)
    bench.run(order)
    report = bench.failure()
    assert report["error_name"] == "unknown"
    assert words in report["message"]
    assert check_values(report) == []  # else no database takes it
    assert not (tmp_path / "data" / order.output_path).exists()


def test_odd_names_that_nobody_claims_are_nothing(bench: Bench) -> None:
    program = (
        r"open('a\nb', 'w'); open(b'\xff', 'w'); os.mkdir(b'\xfe'); open(b'\xfe/x', 'w');"
        r"os.chmod(b'\xfe', 0);open('a', 'w'); manifest('a')"
    )
    assert bench.run(bench.order(BEGIN + program, "${job_output_dir}", outputs=OUTPUT)).decision == "done"


@pytest.mark.parametrize("name", ["a\nb", "a\x01"])
def test_an_output_whose_file_has_an_odd_name_says_what_is_wrong_with_it(bench: Bench, name: str) -> None:
    program = f"open({name!r}, 'w'); manifest({name!r})"
    bench.run(bench.order(BEGIN + program, "${job_output_dir}", outputs=OUTPUT))
    assert f"output 'out': The path {name!r}" in bench.failure()["message"]
