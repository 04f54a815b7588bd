# SPDX-License-Identifier: Apache-2.0
"""Files to and from Rescale: against a single stream, the tutorial's own method, and aria2c.

``python benchmarks/transfers.py [--turns N] [--parts PART …] [--quick]``

The service is the emulator, in a process of its own on the same machine, shaped to 8 MB/s for each connection
and direction. Time counts from the call to its end, with the check of the SHA-512, and ours with all bytes on
the disk (fsync); without the start of Python and its imports. The sides take turns; figures are medians.

* **1 GB download** over 10 and 16 connections, against a single stream; against ten threads as in Rescale's
  tutorial (how many of its results are corrupt is counted); against ``aria2c -x10`` and ``-x16`` with its
  check of the same checksum.
* **Broken connections**: the same over 16 connections, when each megabyte has a chance of 1 % to be the last
  of its connection. **kill -9** when half of the file is there: what is fetched again, by the emulator's
  count of bytes.
* **1 GB upload** of text (lines of numbers) as compressed volumes over 16 connections, against a plain
  upload.
* **2,000 small files** of 16 KiB, each request 50 ms late, against one after the other on one connection.
* **Memory**: the most that any of our processes has held, and that of 1 GB against that of a quarter of it.

The single streams, the plain uploads and the sequential downloads wait nearly all of their time: so all turns
of one of them run at once (their speed is the shaped one, see the table), and this ends within half an hour.
aria2c is the system's (``apt-get install aria2``); without it, its part is left out.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the standard library's queue, not queue.py beside this file

import argparse
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from measuring.report import Ratio, finish, table
from transfers_sides.running import Sides, aria2c

from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.endpoints_files import get_file, list_files

SPEED = 8_000_000
LATENCY = 0.05
CHANCE = 0.01
FEW, MANY = 10, 16
PARTS = DOWNLOAD, BREAKS, UPLOAD, SMALL = "download", "breaks", "upload", "small"
SINGLE, TUTORIAL = "single stream", "tutorial's ten threads"
RESCALE = {
    "download, single stream": 124.59,
    "download, ten threads": 35.55,
    "upload, plain": 177.76,
    "upload, parallel volumes of 100 MB (7z, brotli)": 66.51,
}
"""Seconds for 1 GB that Rescale's tutorial tells, measured by its authors on their line."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything: bytes of the large file, number and bytes of small ones."""

    large: int = 1_000_000_000
    small_files: int = 2_000
    small: int = 16 * 1024


@dataclass
class Findings:
    """What was measured: reports of each side, by its name."""

    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refetched: dict[str, list[float]] = field(default_factory=dict)
    compressed: list[float] = field(default_factory=list)

    def add(self, side: str, report: dict[str, Any]) -> None:
        """Keep and show a report."""
        self.reports.setdefault(side, []).append(report)
        told = "" if report.get("right", True) else ", CORRUPT"
        print(
            f"{side}: {report['seconds']:.2f} s, {report['processor']:.2f} s of processor, "
            f"{report['memory']:.0f} MiB{told}",
            flush=True,
        )

    def seconds(self, side: str) -> float:
        """Return a side's median."""
        return statistics.median(report["seconds"] for report in self.reports[side])

    def compared(self, side: str, other: str) -> float:
        """Return the median of the ratios of the turns."""
        pairs = zip(self.reports[side], self.reports[other], strict=True)
        return statistics.median(one["seconds"] / two["seconds"] for one, two in pairs)


def main() -> None:
    """Start the emulator, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="of each side (5)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of it (all)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, one turn: to see that it works, not how fast"
    )
    arguments = parser.parse_args()
    sizes, turns = Sizes(), arguments.turns
    if arguments.quick:
        sizes, turns = Sizes(large=48_000_000, small_files=100), 1
    if aria2c() is None:
        print("aria2c is not there, its part is left out: apt-get install aria2", flush=True)
    with tempfile.TemporaryDirectory(prefix="scale-bench-") as name:
        folder = Path(name)
        shaped = ["--speed-per-connection", str(SPEED)]
        with EmulatorProcess(folder / "emulator", arguments=shaped) as emulator:
            findings = Bench(emulator, folder, sizes, turns).run(arguments.parts)
    _report(findings, sizes)


class Bench:
    """One emulator, and what is measured with it."""

    def __init__(self, emulator: EmulatorProcess, folder: Path, sizes: Sizes, turns: int):
        self.emulator, self.folder, self.sizes, self.turns = emulator, folder, sizes, turns
        self.sides = Sides(emulator.base_url, emulator.api_key, folder / "home")
        self.found = Findings()
        self.client = RescaleClient(Credentials.of(emulator.base_url, emulator.api_key))
        self._numbers = count()

    def run(self, parts: list[str]) -> Findings:
        """Measure one part after the other."""
        measures: dict[str, Callable[[], None]] = {
            DOWNLOAD: self._download,
            BREAKS: self._breaks,
            UPLOAD: self._upload,
            SMALL: self._small_files,
        }
        for part, measure in measures.items():
            if part in parts:
                print(f"--- {part}", flush=True)
                measure()
        self.client.close()
        return self.found

    # -- parts ----------------------------------------------------------------------------------------------
    def _download(self) -> None:
        large, quarter = self._made(self.sizes.large), self._made(self.sizes.large // 4)
        self._at_once(SINGLE, lambda folder: self.sides.by_hand([large], folder))
        takers: dict[str, Callable[[Path], dict[str, Any]]] = {}
        for connections in (FEW, MANY):
            takers[ours(connections)] = self._taker(large, connections)
            if aria2c() is not None:
                takers[aria(connections)] = lambda folder, number=connections: self.sides.aria2c(
                    large, folder, number
                )
        takers[TUTORIAL] = lambda folder: self.sides.tutorial(large, folder)
        takers[f"{ours(MANY)}, a quarter of the file"] = self._taker(quarter, MANY)
        self._in_turns(takers)

    def _breaks(self) -> None:
        large = self._made(self.sizes.large)
        for _ in range(self.turns):
            self.emulator.admin.add_fault(
                "reset", path="/contents/", per_megabyte=CHANCE, times=None, method="GET"
            )
            side = f"{ours(MANY)}, connections break"
            self._refetching(side, large, self._add(side, large))
            self.emulator.admin.clear_faults()
        for _ in range(self.turns):
            self._refetching(f"{ours(MANY)}, killed at half", large, self._kill_and_resume(large))

    def _add(self, side: str, large: dict[str, Any]) -> Callable[[Path], None]:
        return lambda folder: self.found.add(side, self._taker(large, MANY)(folder))

    def _kill_and_resume(self, large: dict[str, Any]) -> Callable[[Path], None]:
        def measure(folder: Path) -> None:
            self.sides.kill_at_half([large], folder, MANY)
            self._taker(large, MANY)(folder)

        return measure

    def _refetching(self, side: str, large: dict[str, Any], measure: Callable[[Path], None]) -> None:
        """Measure, and count which part of the bytes was sent more than once."""
        self.emulator.admin.reset_counters()
        with self._place() as folder:
            measure(folder)
        sent = self.emulator.admin.counters()["bytes_sent"][large["id"]]
        part = sent / large["decryptedSize"] - 1
        self.found.refetched.setdefault(side, []).append(part)
        print(f"{side}: {part:.2%} of the bytes fetched again", flush=True)

    def _upload(self) -> None:
        path = self.folder / "text.csv"
        write_text(path, self.sizes.large)
        self._at_once("plain upload", lambda folder: self._sent(self.sides.upload(path)))
        self._in_turns({volumes(MANY): lambda folder: self._sent(self.sides.volumes(path, MANY))})
        path.unlink()

    def _sent(self, report: dict[str, Any]) -> dict[str, Any]:
        """Note how much was sent, and delete what was."""
        if "sent" in report:
            self.found.compressed.append(report["sent"] / self.sizes.large)
        self.sides.delete(self.client, report["files"])
        return report

    def _small_files(self) -> None:
        for number in range(self.sizes.small_files):
            self.emulator.admin.make_file(f"small-{number:05d}", self.sizes.small, seed=number)
        files = [file.document for file in self.client.pages(list_files(search="small-", page_size=1000))]
        self.emulator.admin.settings(latency=LATENCY)
        self._at_once("one after the other", lambda folder: self.sides.by_hand(files, folder))
        self._in_turns({"ours, small files": lambda folder: self.sides.download(files, folder, 0)})
        self.emulator.admin.settings(latency=0)

    # -- turns ----------------------------------------------------------------------------------------------
    def _taker(self, document: dict[str, Any], connections: int) -> Callable[[Path], dict[str, Any]]:
        return lambda folder: self.sides.download([document], folder, connections)

    def _in_turns(self, takers: dict[str, Callable[[Path], dict[str, Any]]]) -> None:
        names = list(takers)
        for number in range(self.turns):
            first = number % len(names)  # who begins changes from turn to turn
            for side in names[first:] + names[:first]:
                with self._place() as folder:
                    self.found.add(side, takers[side](folder))

    def _at_once(self, side: str, taker: Callable[[Path], dict[str, Any]]) -> None:
        """Let all turns of a side that waits for its connection run side by side."""

        def one(_: int) -> dict[str, Any]:
            with self._place() as folder:
                return taker(folder)

        with ThreadPoolExecutor(self.turns) as pool:
            for report in pool.map(one, range(self.turns)):
                self.found.add(side, report)

    def _place(self) -> _Place:
        return _Place(self.folder / f"turn-{next(self._numbers)}")

    def _made(self, size: int) -> dict[str, Any]:
        """Return the metadata of a random file of the service, made where it is not there yet."""
        name = f"large-{size}"
        for file in self.client.pages(list_files(search=name)):
            if file.name == name:
                return file.document
        record = self.emulator.admin.make_file(name, size)
        return self.client.send(get_file(record["id"])).document


class _Place:
    """A directory that is gone after its turn, and with it what it would still cost to write it out."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def ours(connections: int) -> str:
    return f"ours, {connections} connections"


def aria(connections: int) -> str:
    return f"aria2c -x{connections}"


def volumes(connections: int) -> str:
    return f"ours, volumes over {connections} connections"


def write_text(path: Path, size: int) -> None:
    """Write lines of numbers, as programs of engineers do, which compress to about half."""
    random_numbers = random.Random(5)
    block = "".join(
        f"{number},{random_numbers.gauss(0, 1):.6f},{random_numbers.random() * 100:.4f},{number % 24}\n"
        for number in range(100_000)
    ).encode()
    with path.open("wb") as file:
        rest = size
        while rest:
            rest -= file.write(block[:rest])


def _report(found: Findings, sizes: Sizes) -> None:
    """Print what was measured, and its ratios."""
    sides = {
        side: {
            "seconds": found.seconds(side),
            "MB/s": _bytes(side, sizes) / found.seconds(side) / 1e6,
            "s of processor": statistics.median(report["processor"] for report in reports),
            "MiB at most": max(report["memory"] for report in reports),
        }
        for side, reports in found.reports.items()
    }
    figures: dict[str, dict[str, Any]] = {
        f"medians; {sizes.large / 1e6:.0f} MB, {sizes.small_files} small files": sides
    }
    if TUTORIAL in found.reports:
        wrong = sum(not report["right"] for report in found.reports[TUTORIAL])
        figures["corrupt results"] = {TUTORIAL: f"{wrong} of {len(found.reports[TUTORIAL])}", "all others": 0}
    if found.refetched:
        figures["part of the bytes fetched again, at most"] = {
            side: max(parts) for side, parts in found.refetched.items()
        }
    if found.compressed:
        figures["bytes sent of an upload as volumes, of the file's"] = {
            "median": statistics.median(found.compressed)
        }
    figures["seconds for 1 GB that Rescale's tutorial tells (September 2023, their line)"] = dict(RESCALE)
    columns = ("seconds", "MB/s", "s of processor", "MiB at most")
    rows = [(side, *(f"{values[column]:.4g}" for column in columns)) for side, values in sides.items()]
    print(f"\n{table(('', *columns), rows)}")
    finish("transfers", _ratios(found), **figures)


def _bytes(side: str, sizes: Sizes) -> int:
    if "small" in side or side == "one after the other":
        return sizes.small_files * sizes.small
    return sizes.large // 4 if "quarter" in side else sizes.large


def _ratios(found: Findings) -> dict[str, Ratio]:
    ratios = {}
    if SINGLE in found.reports:
        for connections, goal in ((FEW, 9.3), (MANY, 14.0)):
            ratios[f"download, {connections} connections: times faster than a single stream"] = Ratio(
                found.seconds(SINGLE) / found.seconds(ours(connections)), goal, "higher"
            )
            if aria(connections) in found.reports:
                ratios[f"download, {connections} connections, of aria2c's time"] = Ratio(
                    found.compared(ours(connections), aria(connections)), 1.0, "lower"
                )
        quarter = f"{ours(MANY)}, a quarter of the file"
        ratios["memory for a download, of that for a quarter of the file"] = Ratio(
            _most(found, ours(MANY)) / _most(found, quarter), 1.1, "lower"
        )
    killed = f"{ours(MANY)}, killed at half"
    if killed in found.refetched:
        ratios["killed at half: percent fetched again, the worst"] = Ratio(
            100 * max(found.refetched[killed]), 3.0, "lower"
        )
    if volumes(MANY) in found.reports:
        ratios["upload as volumes: times faster than a plain upload"] = Ratio(
            found.seconds("plain upload") / found.seconds(volumes(MANY)), 8.0, "higher"
        )
    if "ours, small files" in found.reports:
        ratios["small files: times faster than one after the other"] = Ratio(
            found.seconds("one after the other") / found.seconds("ours, small files"), 15.0, "higher"
        )
    own = [side for side in found.reports if side.startswith(("ours", "plain"))]
    if own:
        ratios["MB of memory at most, of all of ours"] = Ratio(
            max(_most(found, side) for side in own) * 1.048576, 200.0, "lower"
        )
    return ratios


def _most(found: Findings, side: str) -> float:
    return max(float(report["memory"]) for report in found.reports[side])


if __name__ == "__main__":
    main()
