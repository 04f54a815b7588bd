# SPDX-License-Identifier: Apache-2.0
"""The command line behind `make demo` and `make stop`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from demo import instances, pipeline, verification
from demo.errors import DemoError
from demo.installation import Installation

_COLUMNS = ("product", "media type", "bytes", "job type")


def start(port: int | None, once: bool, docker: bool) -> int:
    """Make and start a demonstration, run the example on it, and tell what came out.

    :param once: check the products, then stop everything.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    scale: dict[str, str] = {}
    if docker:
        from demo import engine

        print("The example's container image:", flush=True)
        scale = engine.scale_options()
    installation = instances.claim(port)
    try:
        where = f"port {installation.port}, with all its state below {_relative(installation)}"
        print(f"Starting Airflow with Scale on {where}:", flush=True)
        installation.prepare(pipeline.SETUP, scale=scale, tell=_tell)
        installation.start(tell=_tell)
        instances.publish_credentials(installation)
        print(f"Ready after {time.monotonic() - began:.0f} s. Dropping {pipeline.SCENE}:", flush=True)
        code = _run_example(installation, once)
    except BaseException as error:
        _give_up(installation, error)
        raise
    if once:
        installation.remove()
        instances.forget_credentials(installation)
        print("Stopped. Everything was right." if code == 0 else "Stopped.")
    else:
        installation.settled()
    return code


def _run_example(installation: Installation, once: bool) -> int:
    pipeline.drop(installation)
    try:
        pipeline.follow(installation, _show)
    except DemoError as error:
        if once:
            raise
        print(f"\n{error.problem}\n{error.remedy}", file=sys.stderr)
        _show_addresses(installation)
        return 1
    found = pipeline.products(installation)
    _show_products(installation, found)
    if not once:
        _show_addresses(installation)
        return 0
    wrong = verification.faults(installation)
    for fault in wrong:
        print(f"wrong: {fault}", file=sys.stderr)
    if not wrong:
        print(f"\nAll {len(found)} products are there, whole, and right.")
    return 1 if wrong else 0


def _show(change: pipeline.Change, elapsed: float) -> None:
    line = f"  {elapsed:6.1f} s  {change.kind:<6}  {change.name:<20} {change.state:<12} {change.detail}"
    print(line.rstrip(), flush=True)


def _show_products(installation: Installation, found: Sequence[pipeline.Product]) -> None:
    """Print the products; where each one lies is too long for a column and gets lines of its own."""
    title, line, *rows = pipeline.table([each.cells() for each in found], _COLUMNS).splitlines()
    print(f"\n{title}\n{line}")
    for row, product in zip(rows, found, strict=True):
        print(row)
        for part in product.place(installation.data / "products").splitlines():
            print(f"    {part}")


def _show_addresses(installation: Installation) -> None:
    from scale_airflow.compiler.names import recipe_dag_id

    login = installation.credentials
    dag = recipe_dag_id(*pipeline.RECIPE, 1)
    rows = [
        ("Airflow", f"{installation.url}/", f"user {login.username}, password {login.password}"),
        ("the recipe", f"{installation.url}/dags/{dag}", "graph, runs, code"),
        ("Scale's API", f"{installation.url}/scale/api/", f"pages: {installation.url}/scale/docs"),
        ("drop files", str(installation.incoming), "zips of elevation models"),
        ("command line", str(installation.folder / "airflow.sh"), "for example: airflow.sh scale check"),
    ]
    print("\n" + pipeline.table(rows, ("where", "address", "what")))
    print("\nThe login is also in .demo/credentials.json. It all stays up until: make stop", flush=True)


def _give_up(installation: Installation, error: BaseException) -> None:
    """End everything; keep the logs where somebody will look at them."""
    if isinstance(error, KeyboardInterrupt):
        print("\nInterrupted; stopping everything.", file=sys.stderr)
        installation.remove()
    else:
        installation.stop()
        installation.settled()
    instances.forget_credentials(installation)


def stop(port: int | None) -> int:
    """Stop one demonstration, or all of this checkout."""
    stopped = instances.stop(port)
    for each in stopped:
        print(f"Stopped the demo on port {each} and removed its state.")
    if not stopped:
        print("No demo runs.")
    return 0


def airflow(port: int, words: Sequence[str]) -> NoReturn:
    """Become `airflow` with the configuration of a demonstration."""
    found = [each for each in instances.running() if each.port == port]
    if not found:
        raise DemoError(f"No demo runs on port {port}.", "Start one: make demo")
    program = [sys.executable, "-I", "-m", "airflow", *words]
    os.execve(sys.executable, program, found[0].environment)


def _interrupt(*_: object) -> NoReturn:
    # Once is enough: make passes on what it was sent itself, and the clearing up must come to its end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell(what: str) -> None:
    print(f"  {what}", flush=True)


def _relative(installation: Installation) -> str:
    return os.path.relpath(installation.folder)


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


def _port() -> int | None:
    text = os.environ.get("PORT", "")
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise DemoError(f"PORT={text} is no port.", "Give a number from 1 to 65535, e.g. make demo PORT=8090")
    return int(text)


def main() -> int:
    """Run the command line; make's variables PORT, ONCE and DOCKER come through the environment."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start a demonstration")
    commands.add_parser("stop", help="stop demonstrations")
    shell = commands.add_parser("airflow", help="run Airflow's command line on a demonstration")
    shell.add_argument("--port", type=int, required=True)
    shell.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        if options.command == "start":
            return start(_port(), _flag("ONCE"), _flag("DOCKER"))
        if options.command == "stop":
            return stop(_port())
        airflow(options.port, options.words[1:] if options.words[:1] == ["--"] else options.words)
    except DemoError as error:
        print(f"\n{error.problem}\n{error.remedy}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
