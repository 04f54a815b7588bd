# SPDX-License-Identifier: Apache-2.0
"""The command group ``airflow scale``: names, arguments and help, nothing else.

Every ``airflow`` command imports this module, so it imports only Airflow's own CLI; the actions load when
they are called.
"""

from __future__ import annotations

import argparse
from datetime import date, datetime
from pathlib import Path
from typing import Any

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
)

KINDS: dict[str, str] = {
    "configuration": "configuration export (what `airflow scale import` takes)",
    "setup": "set-up (what `airflow scale apply` takes)",
    "job-type": "job type, as in POST /job-types/",
    "job-interface": "job interface",
    "error-mapping": "error mapping",
    "job-data": "job data",
    "recipe-type": "recipe type, as in POST /recipe-types/",
    "recipe-definition": "recipe definition",
    "recipe-data": "recipe data",
    "results-manifest": "results manifest (1.0 or 1.1)",
    "strike": "Strike configuration",
    "workspace": "workspace configuration",
    "ingest-rule": "configuration of an INGEST trigger rule",
    "parse-rule": "configuration of a PARSE trigger rule",
    "clock-rule": "configuration of a CLOCK trigger rule",
}
"""The documents that ``airflow scale validate`` knows, each with what it is."""

CANCELABLE = ("PENDING", "BLOCKED", "QUEUED", "RUNNING", "FAILED")
REQUEUEABLE = ("FAILED", "CANCELED")


def _kind_list() -> str:
    return "\n".join(f"  {name:<18} {what}" for name, what in KINDS.items())


def _positive(text: str) -> int:
    """Read a whole number above zero (for argparse)."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("a whole number above zero is wanted")
    return value


def _priority(text: str) -> int:
    """Read a priority (for argparse)."""
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {2**31 - 1} is wanted")
    return value


def _day(text: str) -> date:
    """Read a day (for argparse)."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31") from None


ARG_DAY = Arg(("day",), metavar="DAY", type=_day, help="a day in UTC that is over, YYYY-MM-DD")
ARG_UNTIL = Arg(("--until",), metavar="DAY", type=_day, help="the last of the days, if there are several")
ARG_HOST = Arg(
    ("--host",),
    metavar="URL",
    help="where workers reach the API server, e.g. https://airflow.example:8080 (default: [api] base_url)",
)
ARG_WORKER = Arg(
    ("--worker",),
    action="store_true",
    help="look only at what a worker's host needs: engine, work folder, mounts, clock, connection, agent",
)
ARG_KIND = Arg(("kind",), choices=tuple(KINDS), metavar="KIND", help="what the files are; see the list below")
ARG_FILES = Arg(("files",), nargs="+", metavar="FILE", help="JSON file, or - for standard input")
ARG_SETUP = Arg(("file",), type=Path, metavar="SETUP.json", help="the set-up document")
ARG_IMPORT = Arg(("file",), metavar="FILE", help="configuration export document, or - for standard input")
ARG_EXPORT_FILE = Arg(
    ("file",), nargs="?", default="-", metavar="FILE", help="where to write it (default: standard output)"
)
ARG_FORCE = Arg(("--force",), action="store_true", help="replace the file if it exists")
ARG_JOB_TYPE_NAME = Arg(
    ("--job-type-name",), action="append", metavar="NAME", help="only this job type; may be repeated"
)
ARG_RECIPE_TYPE_NAME = Arg(
    ("--recipe-type-name",),
    action="append",
    metavar="NAME",
    help="only this recipe type and what it needs; may be repeated",
)
ARG_ERROR_NAME = Arg(
    ("--error-name",), action="append", metavar="NAME", help="only this error; may be repeated"
)
ARG_COMPILE_FILE = Arg(("file",), metavar="FILE", help="recipe definition or job interface, - for stdin")
ARG_COMPILE_KIND = Arg(
    ("--kind",),
    choices=("recipe", "job"),
    default="recipe",
    help="what FILE is: a recipe definition (recipe, the default) or a job interface (job)",
)
ARG_NAME = Arg(("--name",), metavar="NAME", help="name of the type (default: the file's name)")
ARG_VERSION = Arg(
    ("--type-version",), default="1.0", metavar="VERSION", help="version of the type (default: 1.0)"
)
ARG_REVISION = Arg(
    ("--revision",), type=_positive, default=1, metavar="N", help="revision of the type (default: 1)"
)
ARG_TITLE = Arg(("--title",), metavar="TITLE", help="title of the type")
ARG_DIRECTORY = Arg(
    ("--output-dir",),
    type=Path,
    metavar="DIR",
    help="write the DAG file into this directory (default: print it)",
)
ARG_AGENT_ID = Arg(
    ("--agent-id",),
    metavar="ID",
    help="stable id of this node (default: made once, kept in the work directory)",
)
ARG_HOSTNAME = Arg(
    ("--hostname",), metavar="NAME", help="name of this node as Airflow's workers have it (default: asked)"
)
ARG_TOKEN_USER = Arg(("username",), metavar="USER", help="user of Airflow whose rights the token has")
ARG_TOKEN_NAME = Arg(("--name",), default="", metavar="NAME", help="what the token is for")
ARG_TOKEN_DAYS = Arg(
    ("--days",),
    type=_positive,
    default=None,
    metavar="N",
    help="days until it expires (default: never)",
)
ARG_TOKEN_ID = Arg(
    ("token_id",), type=int, metavar="ID", help="the token's id, see `airflow scale token list`"
)
ARG_JOB_IDS = Arg(("job_ids",), nargs="*", type=_positive, metavar="JOB_ID", help="only these jobs")
ARG_JOB_TYPES = Arg(
    ("--job-type",),
    action="append",
    metavar="NAME[:VERSION]",
    help="only jobs of this job type, of all its versions without VERSION; may be repeated",
)
ARG_CANCEL_STATUS = Arg(
    ("--status",), choices=CANCELABLE, metavar="STATUS", help=f"only jobs that are: {', '.join(CANCELABLE)}"
)
ARG_REQUEUE_STATUS = Arg(
    ("--status",), choices=REQUEUEABLE, metavar="STATUS", help=f"only jobs that are: {', '.join(REQUEUEABLE)}"
)
ARG_ERROR = Arg(
    ("--error",),
    action="append",
    metavar="NAME",
    help="only jobs that ended with this error; may be repeated",
)
ARG_STARTED = Arg(
    ("--started",),
    metavar="TIME",
    help="only jobs that were modified since: 2026-01-31T08:00:00Z, or PT3H for three hours ago",
)
ARG_ENDED = Arg(("--ended",), metavar="TIME", help="only jobs that were modified before; as --started")
ARG_PRIORITY = Arg(
    ("--priority",),
    type=_priority,
    metavar="N",
    help="their new priority, lower runs first (default: as it is)",
)
ARG_DRY_RUN = Arg(("--dry-run",), action="store_true", help="show which jobs are meant, and change nothing")
ARG_YES = Arg(("-y", "--yes"), action="store_true", help="don't ask before it is done")
ARGS_OF_MANY = (ARG_STARTED, ARG_ENDED, ARG_DRY_RUN, ARG_YES, ARG_OUTPUT)


def _action(name: str, module: str, summary: str, description: str = "", args: tuple[Arg, ...] = ()) -> Any:
    """Describe one action; its function is ``scale_airflow.cli.<module>.<name>_command``."""
    function = f"scale_airflow.cli.{module}.{name.replace('-', '_')}_command"
    text = f"{summary}.\n\n{description}".rstrip()
    return ActionCommand(
        name=name,
        help=summary,
        description=text,
        func=lazy_load_command(function),
        args=(*args, ARG_VERBOSE),
    )


TOKEN_COMMANDS = (
    _action(
        "create",
        "tokens",
        "Make a token and print it",
        "It is shown this once. Send it as `Authorization: Bearer <token>`.",
        (ARG_TOKEN_USER, ARG_TOKEN_NAME, ARG_TOKEN_DAYS, ARG_OUTPUT),
    ),
    _action("list", "tokens", "List the tokens, never their secrets", args=(ARG_OUTPUT,)),
    _action("revoke", "tokens", "End a token at once", args=(ARG_TOKEN_ID,)),
)

COMMANDS: tuple[Any, ...] = (
    _action(
        "init",
        "installation",
        "Prepare Airflow's metadata database for Scale",
        "Run it after `airflow db migrate`, as often as you like. It makes the built-in errors, the system "
        "job types and the connection scale_default with a random secret, and changes nothing that exists.",
        (ARG_HOST, ARG_OUTPUT),
    ),
    _action(
        "check",
        "installation",
        "Look for what is misconfigured, and say what to do about it",
        "Ends with exit code 1 if anything is an error; warnings alone leave it 0. Where workers have "
        "no database: --worker.",
        (ARG_WORKER, ARG_OUTPUT),
    ),
    _action(
        "apply",
        "configuration",
        "Make workspaces, configuration and Strike processes as a set-up document says",
        "In the right order, and as often as you like: what is as it should be stays untouched. Paths in the "
        "document are relative to it. Example: examples/terrain/setup.json.",
        (ARG_SETUP, ARG_OUTPUT),
    ),
    _action(
        "validate",
        "documents",
        "Check documents against the specification, without a database",
        "Prints every fault as file:line:column: pointer: message and ends with exit code 1 if there is any."
        "\n\nkinds:\n" + _kind_list(),
        (ARG_KIND, ARG_FILES, ARG_OUTPUT),
    ),
    _action(
        "import",
        "configuration",
        "Import a configuration export document: errors, job types, recipe types, trigger rules",
        "All of it or nothing. What exists under the same name and version is edited.",
        (ARG_IMPORT, ARG_OUTPUT),
    ),
    _action(
        "export",
        "configuration",
        "Export errors, job types, recipe types and trigger rules as one document",
        "Without options it exports everything.",
        (ARG_EXPORT_FILE, ARG_FORCE, ARG_RECIPE_TYPE_NAME, ARG_JOB_TYPE_NAME, ARG_ERROR_NAME),
    ),
    _action(
        "compile",
        "documents",
        "Show the Airflow DAG file that a recipe definition or job interface becomes",
        "Nothing is stored: it is for reading. Scale compiles each revision of a type itself.",
        (
            ARG_COMPILE_FILE,
            ARG_COMPILE_KIND,
            ARG_NAME,
            ARG_VERSION,
            ARG_REVISION,
            ARG_TITLE,
            ARG_DIRECTORY,
        ),
    ),
    _action(
        "cancel",
        "work",
        "Cancel jobs, one or thousands, all in one transaction",
        "Waiting jobs never start, what runs is killed within seconds, jobs that depend on them are BLOCKED. "
        "All conditions that are given must hold; it asks before it does anything.\n\n"
        "examples:\n"
        "  airflow scale cancel 1234 1235\n"
        "  airflow scale cancel --job-type make-tiles:2.0 --status QUEUED --dry-run\n"
        "  airflow scale cancel --status RUNNING --ended PT12H --yes\n\n"
        "Ends with exit code 0 when it is done, 1 if no job matches or the answer was no.",
        (ARG_JOB_IDS, ARG_JOB_TYPES, ARG_CANCEL_STATUS, ARG_ERROR, *ARGS_OF_MANY),
    ),
    _action(
        "requeue",
        "work",
        "Give FAILED and CANCELED jobs one more try, all in one transaction",
        "Each has exactly one more try, also when its tries were used up; jobs that were BLOCKED by it wait "
        "for it again. All conditions that are given must hold; it asks before it does anything.\n\n"
        "examples:\n"
        "  airflow scale requeue 1234 --priority 10\n"
        "  airflow scale requeue --error nfs --started PT3H\n"
        "  airflow scale requeue --job-type make-tiles --status FAILED --yes -o json\n\n"
        "Ends with exit code 0 when it is done, 1 if no job matches or the answer was no.",
        (ARG_JOB_IDS, ARG_JOB_TYPES, ARG_REQUEUE_STATUS, ARG_ERROR, ARG_PRIORITY, *ARGS_OF_MANY),
    ),
    _action(
        "metrics",
        "metrics",
        "Work out the metrics of past days again",
        "The clock rule scale-daily-metrics has every day worked out once it is over; this replaces the "
        "metrics of days whose jobs have changed since, or makes those that are missing.\n\n"
        "examples:\n"
        "  airflow scale metrics 2026-01-31\n"
        "  airflow scale metrics 2026-01-01 --until 2026-01-31",
        (ARG_DAY, ARG_UNTIL, ARG_OUTPUT),
    ),
    _action(
        "countries",
        "files",
        "Find the countries of files that are stored already",
        "A file's countries are found when its footprint is stored. This finds them again for every file "
        "that has a footprint: after an update from a version that found none, or with newer borders.",
    ),
    _action(
        "node",
        "node",
        "Run the agent of this host beside its worker",
        "It registers the host with its CPUs, memory and disk, beats, stops canceled containers and clears "
        "scratch folders that nobody owns. It ends with SIGTERM or Ctrl-C. Run one on each worker host.",
        (ARG_AGENT_ID, ARG_HOSTNAME),
    ),
    _action(
        "sync-perms",
        "installation",
        "Make Scale's permissions in Airflow's FAB auth manager and give them to its roles",
        "Admin and Op may do everything, User and Viewer may read. What other roles were given stays. "
        "The API server does the same when it starts.",
    ),
    GroupCommand(name="token", help="Long-lived tokens for scripts", subcommands=TOKEN_COMMANDS),
    _action(
        "rotate-secret",
        "installation",
        "Replace the secret of the connection scale_default",
        "Jobs that run go on: their reports carry tokens of their own. A node agent takes the new secret "
        "with its next beat.",
    ),
)


def get_commands() -> list[CLICommand]:
    """Return what Airflow adds to its command line (provider information, ``cli``)."""
    return [
        GroupCommand(
            name="scale",
            help="Scale: job types, recipes, ingest, products",
            description="Scale on Airflow. Begin with: airflow scale init, then airflow scale check.",
            subcommands=COMMANDS,
        )
    ]
