# SPDX-License-Identifier: Apache-2.0
"""A job that writes faster than anybody reads: all of it arrives, and the worker stays small."""

from __future__ import annotations

import logging
import os
import resource

from process_bench import Bench
from unit.execution.fake_runtime import FakeRuntime

FLOOD = """
import os, threading

def write(stream, block, count):
    for _ in range(count):
        view = memoryview(block)
        while view:
            view = view[os.write(stream, view):]

lines = threading.Thread(target=write, args=(2, b"e" * 99 + b"\\n", 200_000))
lines.start()
write(1, b"o" * 1_000_000, 100)
lines.join()
"""


def test_a_hundred_megabytes_without_a_newline(bench: Bench, runtime: FakeRuntime) -> None:
    worker = os.fork()
    if worker == 0:
        grown = 1 << 30
        try:
            task_log = logging.getLogger("scale.job")
            task_log.setLevel(logging.INFO)
            task_log.propagate = False  # pytest would keep every line
            task_log.addHandler(logging.FileHandler(bench.root / "task.log"))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            bench.run(bench.order(FLOOD, max_log_bytes=100 << 20))
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        finally:
            (bench.root / "grown").write_text(str(grown))
            os._exit(0)
    os.waitpid(worker, 0)
    bench.completion()
    assert runtime.output("stdout") == b"o" * 100_000_000
    assert runtime.output("stderr") == (b"e" * 99 + b"\n") * 200_000
    assert (bench.root / "task.log").stat().st_size > 120_000_000
    assert int((bench.root / "grown").read_text()) < 50 << 10  # KiB
