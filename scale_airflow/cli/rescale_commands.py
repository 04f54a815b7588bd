# SPDX-License-Identifier: Apache-2.0
"""The command group ``airflow rescale``: names, arguments and help, nothing else.

Every ``airflow`` command imports this module, so it imports only Airflow's own CLI; the actions load when
they are called.
"""

from __future__ import annotations

import argparse
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

JOB_STATUSES = (
    "PENDING",
    "QUEUED",
    "STARTED",
    "VALIDATED",
    "EXECUTING",
    "COMPLETED",
    "STOPPING",
    "WAITING_FOR_CLUSTER",
    "FORCE_STOP",
    "WAITING_FOR_QUEUE",
)
"""What ``airflow rescale jobs --status`` takes: Rescale's filter ``job_status``."""


def _positive(text: str) -> int:
    """Read a whole number above zero (for argparse)."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number above zero is wanted, not {text!r}")
    return value


def _amount(text: str) -> float:
    """Read a number above zero (for argparse)."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above zero is wanted, not {text!r}")
    return value


def _variable(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE`` (for argparse)."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


ARG_CONNECTION = Arg(
    ("-c", "--conn-id"),
    metavar="CONN_ID",
    default=None,
    help="Airflow connection of the type rescale (default: rescale_default; without one RESCALE_API_KEY, "
    "then the profile `default` of ~/.config/rescale/apiconfig)",
)
ARG_PROFILE = Arg(
    ("--profile",),
    metavar="NAME",
    help="profile of ~/.config/rescale/apiconfig to use instead of a connection",
)
ARG_JOB = Arg(
    ("job_id",), metavar="JOB", help="the job's id, as in its address and in `airflow rescale jobs`"
)
ARG_LIMIT = Arg(
    ("-n", "--limit"),
    type=_positive,
    default=20,
    metavar="N",
    help="at most so many, newest first (default: 20)",
)
ARG_STATE = Arg(
    ("--state",),
    choices=("completed", "not_completed"),
    help="only jobs that have ended (completed), or that have not (not_completed)",
)
ARG_STATUS = Arg(
    ("--status",),
    choices=JOB_STATUSES,
    metavar="STATUS",
    type=str.upper,
    help=f"only jobs with this status: {', '.join(JOB_STATUSES)}",
)
ARG_NAME_PART = Arg(("--name",), metavar="TEXT", help="only jobs with TEXT in their name")
ARG_BODY = Arg(
    ("file",),
    nargs="?",
    metavar="FILE",
    help="job as JSON or YAML, as Rescale's API takes it; - for standard input. Options below win over it",
)
ARG_TEMPLATE = Arg(("--from-job",), metavar="JOB", help="take a saved job as the template")
ARG_NAME = Arg(("--name",), metavar="NAME", help="name of the job")
ARG_COMMAND = Arg(("--command",), metavar="COMMAND", help="what to run, a line for bash")
ARG_ANALYSIS = Arg(
    ("--analysis",),
    metavar="CODE[:VERSION]",
    help="software, by its code and version code (default: the template's, else user_included:0, which is "
    "your own)",
)
ARG_CORE_TYPE = Arg(
    ("--core-type",),
    metavar="CODE",
    help="core type, or `cheapest` among those that have the cores (default: the template's, else cheapest)",
)
ARG_CORES = Arg(
    ("--cores",), type=_positive, metavar="N", help="cores per slot (default: the template's, else 1)"
)
ARG_WALLTIME = Arg(
    ("--walltime",),
    type=_positive,
    metavar="HOURS",
    help="hours after which Rescale ends it (default: the template's, else 1)",
)
ARG_ECONOMY = Arg(("--economy",), action="store_true", help="On-Demand Economy: cheaper, may be interrupted")
ARG_PROJECT = Arg(("--project",), metavar="ID", help="project that pays")
ARG_INPUTS = Arg(
    ("-i", "--input"),
    action="append",
    metavar="PATH",
    help="file to send along, or folder, which travels as one zip and is unpacked; may be repeated. What is "
    "at Rescale already, unchanged, is not sent again",
)
ARG_VARIABLES = Arg(
    ("-e", "--env"),
    action="append",
    type=_variable,
    metavar="NAME=VALUE",
    help="environment variable of the job; may be repeated",
)
ARG_MAX_COST = Arg(
    ("--max-cost",), type=_amount, metavar="AMOUNT", help="refuse a job whose estimate is above this"
)
ARG_DRY_RUN = Arg(("--dry-run",), action="store_true", help="show the job and its price, and change nothing")
ARG_YES = Arg(("-y", "--yes"), action="store_true", help="don't ask before it is done")
ARG_WAIT = Arg(
    ("-w", "--wait"), action="store_true", help="wait until it ends; exit code 1 if it does not succeed"
)
ARG_INTERVAL = Arg(
    ("--interval",),
    type=_amount,
    default=5.0,
    metavar="SECONDS",
    help="seconds between two looks while it waits (default: 5)",
)
ARG_FOLLOW = Arg(("-f", "--follow"), action="store_true", help="show the log as it grows, until the job ends")
ARG_SUBMIT_DOWNLOAD = Arg(
    ("-d", "--download"),
    type=Path,
    metavar="DIR",
    help="wait, then fetch the results into this folder",
)
ARG_RUN = Arg(
    ("--run",), default="1", metavar="RUN", help="run of the job, of a DOE for example (default: 1)"
)
ARG_LINES = Arg(
    ("-n", "--lines"),
    type=_positive,
    default=None,
    metavar="N",
    help="only the last N lines (with --follow: begin with them; default: all)",
)
ARG_LOG_FILE = Arg(
    ("--path",),
    default="process_output.log",
    metavar="PATH",
    help="another file of the job's work folder (default: process_output.log)",
)
ARG_DIRECTORY = Arg(
    ("-d", "--directory"),
    type=Path,
    metavar="DIR",
    help="folder to fetch into (default: a new one here, named as the job's id)",
)
ARG_MATCH = Arg(
    ("-m", "--match"),
    action="append",
    metavar="PATTERN",
    help="only files whose path or name matches, such as '*.csv'; may be repeated",
)
ARG_EXCEPT = Arg(
    ("-x", "--except"),
    action="append",
    dest="exclude",
    metavar="PATTERN",
    help="but not files whose path or name matches; may be repeated",
)
ARG_CONNECTIONS = Arg(
    ("--connections",),
    type=_positive,
    default=None,
    metavar="N",
    help="at most so many connections at a time",
)
ARG_SEARCH = Arg(("--search",), metavar="TEXT", help="only files that Rescale finds for TEXT")
ARG_OF_JOB = Arg(("--job",), metavar="JOB", help="files that this job has made, instead of all of yours")
ARG_MIN_CORES = Arg(
    ("--cores",),
    type=_positive,
    metavar="N",
    help="only core types that can give N cores, with the price of N",
)
ARG_MEMORY = Arg(
    ("--memory",), type=_amount, metavar="GB", help="only where these cores have GB gigabytes together"
)
ARG_CATEGORY = Arg(("--category",), metavar="CODE", help="only core types of this category, such as hpc")
ARG_ALL = Arg(("--all",), action="store_true", help="also those that are out of date")
ARG_SOFTWARE = Arg(("text",), nargs="?", metavar="TEXT", help="only software with TEXT in its code or name")
ARG_PATHS = Arg(
    ("paths",), nargs="+", type=Path, metavar="PATH", help="files, or folders (each becomes a zip)"
)
ARG_FORCE_STOP = Arg(("--force",), action="store_true", help="ask for a forced stop, if a stop did not help")
ARG_STOP = Arg(("--stop",), action="store_true", help="stop those that are shown")

ACCESS = (ARG_CONNECTION, ARG_PROFILE)


def _action(name: str, module: str, summary: str, description: str = "", args: tuple[Arg, ...] = ()) -> Any:
    """Describe one action; its function is ``scale_airflow.cli.<module>.<name>_command``."""
    text = f"{summary}.\n\n{description}".rstrip()
    return ActionCommand(
        name=name,
        help=summary,
        description=text,
        func=lazy_load_command(f"scale_airflow.cli.{module}.{name}_command"),
        args=(*args, *ACCESS, ARG_VERBOSE),
    )


COMMANDS: tuple[Any, ...] = (
    _action(
        "jobs",
        "rescale",
        "List jobs, newest first",
        "Rescale's own column STATUS does not tell whether a job did what it should: a command that fails "
        "ends Completed too. `airflow rescale status JOB` tells.\n\n"
        "examples:\n"
        "  airflow rescale jobs\n"
        "  airflow rescale jobs --state not_completed -n 100\n"
        "  airflow rescale jobs --name wing -o json",
        (ARG_STATE, ARG_STATUS, ARG_NAME_PART, ARG_LIMIT, ARG_OUTPUT),
    ),
    _action(
        "submit",
        "rescale_submit",
        "Create a job, show what it may cost, and start it",
        "The job is a file, a saved job (--from-job), or what the options say. Inputs are sent first. The "
        "estimate is core type × cores × hours of walltime; nothing is paid before the answer is yes. It "
        "prints the job's id.\n\n"
        "examples:\n"
        "  airflow rescale submit job.json --max-cost 50\n"
        "  airflow rescale submit --name pi --command 'python3 pi.py' --input pi.py --core-type cheapest "
        "--cores 2 --walltime 1 --follow\n"
        "  airflow rescale submit --from-job XyzAb --name again --yes --download results\n\n"
        "Ends with exit code 0 when the job is started (with --wait, --follow or --download: when it has "
        "succeeded), else 1.",
        (
            ARG_BODY,
            ARG_TEMPLATE,
            ARG_NAME,
            ARG_COMMAND,
            ARG_ANALYSIS,
            ARG_CORE_TYPE,
            ARG_CORES,
            ARG_WALLTIME,
            ARG_ECONOMY,
            ARG_PROJECT,
            ARG_INPUTS,
            ARG_VARIABLES,
            ARG_MAX_COST,
            ARG_WAIT,
            ARG_FOLLOW,
            ARG_SUBMIT_DOWNLOAD,
            ARG_INTERVAL,
            ARG_DRY_RUN,
            ARG_YES,
            ARG_OUTPUT,
        ),
    ),
    _action(
        "status",
        "rescale",
        "Tell how a job stands, and whether it succeeded",
        "Shows the history of the job and of its cluster, its runs, and the verdict: waiting, succeeded or "
        "failed, with the reason.\n\n"
        "examples:\n"
        "  airflow rescale status XyzAb\n"
        "  airflow rescale status XyzAb --wait -o json\n\n"
        "Ends with exit code 1 if the job failed, else 0.",
        (ARG_JOB, ARG_WAIT, ARG_INTERVAL, ARG_OUTPUT),
    ),
    _action(
        "logs",
        "rescale_logs",
        "Show the log of a job, also while it runs",
        "While the job runs, it reads the file in the job's work folder; afterwards the stored result.\n\n"
        "examples:\n"
        "  airflow rescale logs XyzAb -f\n"
        "  airflow rescale logs XyzAb --run 3 -n 50\n"
        "  airflow rescale logs XyzAb --path solver/residuals.csv\n\n"
        "With --follow it ends with exit code 1 if the job failed.",
        (ARG_JOB, ARG_FOLLOW, ARG_RUN, ARG_LINES, ARG_LOG_FILE, ARG_INTERVAL),
    ),
    _action(
        "download",
        "rescale_files",
        "Fetch what a job has made, over several connections, checked by its sums",
        "What was fetched in part goes on where it ended; what is there already and unchanged stays.\n\n"
        "examples:\n"
        "  airflow rescale download XyzAb\n"
        "  airflow rescale download XyzAb -d results --match '*.csv' --except 'tmp/*'\n\n"
        "Ends with exit code 0 when every file is there.",
        (ARG_JOB, ARG_DIRECTORY, ARG_MATCH, ARG_EXCEPT, ARG_CONNECTIONS, ARG_OUTPUT),
    ),
    _action(
        "files",
        "rescale_files",
        "List files at Rescale: yours, or those of a job",
        "examples:\n  airflow rescale files --search wing\n  airflow rescale files --job XyzAb -o json",
        (ARG_SEARCH, ARG_OF_JOB, ARG_LIMIT, ARG_OUTPUT),
    ),
    _action(
        "upload",
        "rescale_files",
        "Send files, and print their ids",
        "A folder becomes one zip, which a job unpacks. Files that are at Rescale already, unchanged, are "
        "found by their sum and not sent again.\n\n"
        "examples:\n"
        "  airflow rescale upload model.inp mesh/",
        (ARG_PATHS, ARG_OUTPUT),
    ),
    _action(
        "coretypes",
        "rescale_hardware",
        "List core types with their prices",
        "Prices are for an hour: of one core, or of all with --cores, the cheapest first.\n\n"
        "examples:\n"
        "  airflow rescale coretypes\n"
        "  airflow rescale coretypes --cores 16 --memory 64",
        (ARG_MIN_CORES, ARG_MEMORY, ARG_CATEGORY, ARG_ALL, ARG_OUTPUT),
    ),
    _action(
        "analyses",
        "rescale_hardware",
        "List software that jobs can run, with the codes that a job names it by",
        "examples:\n  airflow rescale analyses openfoam",
        (ARG_SOFTWARE, ARG_OUTPUT),
    ),
    _action(
        "stop",
        "rescale",
        "Stop a job; what it has made so far is stored",
        "examples:\n  airflow rescale stop XyzAb",
        (ARG_JOB, ARG_FORCE_STOP),
    ),
    _action(
        "clusters",
        "rescale",
        "List clusters that Airflow has started and that still run",
        "Those of RescaleStartClusterOperator. A DAG run stops its own; this shows what is left if somebody "
        "took its tasks away, and what it may cost.\n\n"
        "examples:\n"
        "  airflow rescale clusters\n"
        "  airflow rescale clusters --stop --yes",
        (ARG_STOP, ARG_YES, ARG_OUTPUT),
    ),
)


def get_commands() -> list[CLICommand]:
    """Return what Airflow adds to its command line (provider information, ``cli``)."""
    return [
        GroupCommand(
            name="rescale",
            help="Rescale: jobs, files, prices",
            description="Rescale from the command line. Begin with: airflow rescale coretypes. The key is "
            "that of the Airflow connection rescale_default, of RESCALE_API_KEY, or of "
            "~/.config/rescale/apiconfig.",
            subcommands=COMMANDS,
        )
    ]
