# SPDX-License-Identifier: Apache-2.0
"""``python -m scale_airflow.rescale.emulator``: Rescale's API on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from scale_airflow.rescale.emulator.settings import Settings

DESCRIPTION = """\
Speaks Rescale's API on this machine, for tests and for trying things out: jobs run here as real processes,
files are real files, nothing costs anything.

  python -m scale_airflow.rescale.emulator --port 8900 --root /tmp/rescale --api-key secret
  curl -H 'Authorization: Token secret' http://127.0.0.1:8900/api/v2/users/me/

Whoever has the key can run any command as the user that started it: it listens on the loopback interface
only. It prints one line, "Ready: ADDRESS admin ADDRESS", when it listens; SIGTERM or Ctrl-C ends it
and its jobs. Everything is kept below --root and is there again after a restart, even after kill -9.
"""
EPILOG = """\
The admin address takes the same key and JSON: GET /counters, GET /requests, GET/POST/DELETE /faults,
GET/PATCH /settings, POST /advance {"seconds": 60}, GET/POST /jobs, GET /jobs/ID,
PATCH /jobs/ID {"scenario": "preempted"}, POST /scenarios {"scenario": "stuck", "times": 2} (for the next
jobs), POST /files {"name": "big", "size": 1000000}, GET /kinds (the faults and scenarios that there are).
Example: a submission that is done, but whose answer is lost:
  curl -H 'Authorization: Token secret' ADMIN/faults -d '{"path": "/submit/$", "kind": "lost"}'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an emulator until a signal ends it; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    # What is no HTTP is answered 400; that is nobody's business but the client's.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    try:
        return _run(options)
    except ModuleNotFoundError as error:
        print(f"The emulator needs {error.name}: pip install 'scale-airflow[emulator]'", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    # Imported now: whoever asks for help, or mistypes an option, need not wait for a web server.
    from scale_airflow.rescale.emulator.journal import RootInUseError
    from scale_airflow.rescale.emulator.serving import serve

    try:
        asyncio.run(serve(options))
    except RootInUseError as error:
        print(f"{error} Name another --root, or end that one.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The emulator can't start: {error}. Check --port, --admin-port and --root.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scale_airflow.rescale.emulator",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=0, help="of the service; 0 (default): any free one")
    parser.add_argument(
        "--admin-port", type=_port, default=0, help="of the admin plane; 0 (default): any free one"
    )
    parser.add_argument(
        "--root", type=Path, required=True, help="directory for state, files and jobs; made if missing"
    )
    parser.add_argument(
        "--api-key",
        action="append",
        required=True,
        metavar="KEY",
        type=_key,
        help="a good key; again for each further user",
    )
    parser.add_argument(
        "--expired-key", action="append", default=[], metavar="KEY", type=_key, help="a key that is too old"
    )
    parser.add_argument(
        "--inactive-key",
        action="append",
        default=[],
        metavar="KEY",
        type=_key,
        help="a deactivated user's key",
    )
    parser.add_argument(
        "--authorized-keys",
        type=Path,
        metavar="FILE",
        help="public keys that may log in to the machines of jobs over SSH; read anew at each connection",
    )
    parser.add_argument(
        "--pace",
        type=_number,
        default=1.0,
        help="multiplies the waits of jobs and clusters: 1 (default) takes ten seconds a job, 20 minutes",
    )
    parser.add_argument(
        "--hour",
        type=_number,
        default=3600.0,
        metavar="SECONDS",
        help="real seconds that an hour of walltime has (default 3600)",
    )
    speed = "bytes a second, each direction; 0 (default): unlimited"
    parser.add_argument("--speed-per-connection", type=_number, default=0.0, metavar="BYTES", help=speed)
    parser.add_argument(
        "--speed-total", type=_number, default=0.0, metavar="BYTES", help=f"of all together: {speed}"
    )
    parser.add_argument("--latency", type=_number, default=0.0, metavar="SECONDS", help="before each request")
    parser.add_argument(
        "--jitter", type=_number, default=0.0, metavar="SECONDS", help="up to so much more latency"
    )
    parser.add_argument(
        "--throttle", action="store_true", help="refuse with 429 what exceeds the documented rates"
    )
    parser.add_argument("--project-required", action="store_true", help="refuse jobs without projectId")
    parser.add_argument(
        "--gateway-timeout-every",
        type=_count,
        default=Settings.gateway_timeout_every,
        metavar="N",
        help="every n-th request for a job's statuses is answered 504, as happens (%(default)s; 0: never)",
    )
    parser.add_argument(
        "--end-with-input",
        action="store_true",
        help="end when the standard input does: with the process that holds its other end",
    )
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e15:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number


def _key(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError("a key is printable text without spaces")
    return text


if __name__ == "__main__":
    sys.exit(main())
