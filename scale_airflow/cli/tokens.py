# SPDX-License-Identifier: Apache-2.0
"""``airflow scale token``: long-lived tokens for scripts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from scale_airflow.cli.session import action, load_auth_manager, show
from scale_airflow.errors import NotFound


@action
def create_command(args: Any) -> None:
    """Make a token and print it, this once."""
    from scale_airflow.api_plugin.users import by_name
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.tokens import create_token
    from scale_airflow.store.session import transaction

    load_auth_manager()
    if by_name(args.username) is None:
        raise NotFound(f"Airflow has no active user {args.username!r}; `airflow users list` shows them.")
    expires = None
    if args.days is not None:
        expires = datetime.now(timezone.utc) + timedelta(days=args.days)
    with transaction(point="cli.create_token") as session:
        row, token = create_token(session, username=args.username, name=args.name, expires=expires)
        made = {"id": row.id, "user": args.username, "name": args.name, "token": token}
        record_command(session, "create_token", token_id=row.id, user=args.username, name=args.name)
    if args.output == "table":
        print(token)
    else:
        show([made], args.output)


@action
def list_command(args: Any) -> None:
    """List the tokens, with whose they are and what they are for."""
    from scale_airflow.services.tokens import list_tokens
    from scale_airflow.store.session import transaction

    with transaction() as session:
        rows = [
            {
                "id": token.id,
                "user": token.username,
                "name": token.name,
                "created": _moment(token.created),
                "expires": _moment(token.expires),
                "revoked": _moment(token.revoked),
                "last used": _moment(token.last_used),
            }
            for token in list_tokens(session)
        ]
    show(rows, args.output)


@action
def revoke_command(args: Any) -> None:
    """End a token at once."""
    from scale_airflow.services.audit import record_command
    from scale_airflow.services.tokens import revoke
    from scale_airflow.store.session import transaction

    with transaction(point="cli.revoke_token") as session:
        revoke(session, args.token_id)
        record_command(session, "revoke_token", token_id=args.token_id)
    print(f"Token {args.token_id} is revoked.")


def _moment(value: datetime | None) -> str:
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ") if value is not None else ""
