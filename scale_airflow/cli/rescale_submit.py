# SPDX-License-Identifier: Apache-2.0
"""``airflow rescale submit``: a job from a file, a saved job or options, started once and no more."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scale_airflow.cli.rescale_access import Access, access
from scale_airflow.cli.rescale_files import fetch, refuse_missing, send, show_fetched
from scale_airflow.cli.rescale_output import confirm, waiting
from scale_airflow.cli.session import action, read_text, show
from scale_airflow.errors import InvalidRequest

if TYPE_CHECKING:
    from scale_airflow.cli.rescale_watch import Standing

_OWN_SOFTWARE = "user_included:0"
_INTERRUPTED = 130
# Seconds until a job's history must show that it was started.
_LATE = 60.0


@action
def submit_command(args: Any) -> None:
    """Create and start a job; then wait, follow or fetch as asked."""
    from scale_airflow.rescale.conversations import priced
    from scale_airflow.rescale.job_body import check

    paths = [Path(each) for each in args.input or ()]
    with access(args) as rescale:
        body = _body(rescale, args)
        for slip in check(body):
            print(f"Beware: {slip}.", file=sys.stderr)
        refuse_missing(paths)
        ready = rescale.client.run(priced(body, args.max_cost))
        if args.dry_run:
            show([{"job": ready.body, "estimate": str(ready.estimate)}], _machine(args.output))
            return
        print(f"Estimate: {ready.estimate}", file=sys.stderr)
        if not args.yes and not confirm("Start it?"):
            raise SystemExit(1)
        job_id = _start(rescale, ready.body, paths)
        row: dict[str, Any] = {"id": job_id, "address": rescale.job_address(job_id)}
        if args.output == "table":
            print(f"Started job {job_id}\n{row['address']}", flush=True)
        try:
            standing = _accompany(args, rescale, job_id)
            row |= _end(args, rescale, job_id, standing)
        except KeyboardInterrupt:
            print(
                f"Job {job_id} goes on. `airflow rescale logs {job_id} -f` shows it, "
                f"`airflow rescale stop {job_id}` ends it.",
                file=sys.stderr,
            )
            raise SystemExit(_INTERRUPTED) from None
        finally:
            if args.output != "table":
                show([row], args.output)
    if standing is not None and standing.outcome != "succeeded":
        raise SystemExit(1)


def _machine(output: str) -> str:
    return "json" if output in ("table", "plain") else output


def _body(rescale: Access, args: Any) -> dict[str, Any]:
    """Put the job together: the file or the saved job, and the options over it.

    :raises InvalidRequest: if nothing says what to run.
    """
    from scale_airflow.rescale.endpoints import get_job
    from scale_airflow.rescale.job_body import single_analysis
    from scale_airflow.rescale.job_templates import body_of, merged

    if args.file is not None and args.from_job is not None:
        raise InvalidRequest("Give either FILE or --from-job: one of them is the template.")
    template: dict[str, Any] = {}
    if args.file is not None:
        template = _read(args.file)
    elif args.from_job is not None:
        template = body_of(rescale.client.send(get_job(args.from_job)))
    elif args.command is None:
        raise InvalidRequest("Say what to run: FILE, --from-job JOB or --command COMMAND.")
    options = single_analysis(
        name=args.name or (None if template.get("name") else _name_of(args)),
        analysis=args.analysis or (None if template else _OWN_SOFTWARE),
        command=args.command,
        env_vars=dict(args.env) if args.env else None,
        project_id=args.project,
        low_priority=True if args.economy else None,
        hardware={
            "coreType": args.core_type or (None if template else "cheapest"),
            "coresPerSlot": args.cores or (None if template else 1),
            "walltime": args.walltime or (None if template else 1),
        },
    )
    return merged(template, options)


def _name_of(args: Any) -> str:
    if args.file not in (None, "-"):
        return Path(args.file).stem
    return (args.command or "airflow rescale submit").strip().splitlines()[0][:80]


def _read(name: str) -> dict[str, Any]:
    """Read a job from a file; JSON is YAML too.

    :raises InvalidRequest: if it is no object.
    """
    from airflow.sdk import yaml as airflow_yaml

    yaml: Any = airflow_yaml
    try:
        document = yaml.safe_load(read_text(name))
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{name} is neither JSON nor YAML: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"{name} must hold an object: name, jobanalyses, …")
    return document


def _start(rescale: Access, body: dict[str, Any], paths: Sequence[Path]) -> str:
    """Create and start the job; lost answers are cleared up by looking, so it is started once."""
    from scale_airflow.rescale.job_body import with_inputs, with_marker
    from scale_airflow.rescale.submission import Marker, settle
    from scale_airflow.rescale.submission_client import ClientPort, NoStore
    from scale_airflow.rescale.submission_steps import drive

    marker = Marker.of("airflow rescale submit", secrets.token_hex(16), "", -1, body)

    def prepare() -> dict[str, Any]:
        files = [(0, {"id": file.id}) for file in (send(rescale, paths) if paths else ())]
        return with_marker(with_inputs(body, files), marker)

    port = ClientPort(
        rescale.client, NoStore(), prepare, since=datetime.now(timezone.utc), logger=_StandardError()
    )
    return drive(settle(marker), port).job_id


class _StandardError:
    """Tells a person what a task's log would be told."""

    def info(self, text: str, *values: object) -> None:
        print(text % values, file=sys.stderr)

    warning = info


def _accompany(args: Any, rescale: Access, job_id: str) -> Standing | None:
    """Wait for the job if that is asked for, and return how it ended."""
    from scale_airflow.cli.rescale_logs import DEFAULT_PATH, follow
    from scale_airflow.cli.rescale_watch import wait

    if args.follow:
        # Programs read the output; people look at both.
        stream = sys.stdout if args.output == "table" else sys.stderr
        return follow(
            rescale.client,
            job_id,
            path=DEFAULT_PATH,
            first=None,
            interval=args.interval,
            stream=stream,
            late=_LATE,
        )
    if not args.wait and not args.download:
        return None
    with waiting(f"Job {job_id}") as tell:
        return wait(
            rescale.client,
            job_id,
            interval=args.interval,
            on_look=lambda standing: None if standing.is_final else tell(standing.news),
            late=_LATE,
        )


def _end(args: Any, rescale: Access, job_id: str, standing: Standing | None) -> dict[str, Any]:
    """Tell how the job ended, and fetch its results if that is asked for."""
    if standing is None:
        return {}
    print(f"Job {job_id}: {standing.news}", file=sys.stderr)
    told = {"outcome": standing.outcome, "reason": standing.news}
    if not args.download:
        return told
    files = fetch(rescale, job_id, args.download)
    if args.output == "table":
        show_fetched(files, args.output)
    return told | {"files": files}
