# SPDX-License-Identifier: Apache-2.0
"""Long-lived tokens that scripts log in with on behalf of a user (``airflow scale token``)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from scale_airflow.errors import NotFound
from scale_airflow.store.models import ApiToken, utcnow

PREFIX = "scale_"
"""What every token starts with, so that it is told from a token of Airflow's, and found by scanners."""

_USED_EVERY = timedelta(minutes=1)


def create_token(
    session: Session, *, username: str, name: str, expires: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token for a user.

    :param username: the user of the auth manager on whose behalf scripts act.
    :param name: what the token is for; shown in lists.
    :param expires: when it stops working; None for never.
    :return: the row, and the token itself. Only its hash is kept: it can't be shown again.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(username=username, name=name, sha256=_hash(secret), expires=expires)
    session.add(token)
    session.flush()
    return token, secret


def list_tokens(session: Session, *, username: str | None = None) -> Sequence[ApiToken]:
    """Return the tokens, oldest first; revoked ones too."""
    statement = select(ApiToken).order_by(ApiToken.id)
    if username is not None:
        statement = statement.where(ApiToken.username == username)
    return session.scalars(statement).all()


def revoke(session: Session, token_id: int) -> ApiToken:
    """Make a token useless, at once and for good; a second time is no error.

    :raises NotFound: if there is no such token.
    """
    token = session.get(ApiToken, token_id, with_for_update=True)
    if token is None:
        raise NotFound(f"There is no token with the id {token_id}.")
    if token.revoked is None:
        token.revoked = utcnow()
    return token


def user_of_token(session: Session, secret: str) -> str | None:
    """Return the name of the user whose token this is, or None if it is unknown, revoked or expired."""
    found = session.execute(
        select(ApiToken.id, ApiToken.username).where(
            ApiToken.sha256 == _hash(secret),
            ApiToken.revoked.is_(None),
            or_(ApiToken.expires.is_(None), ApiToken.expires > utcnow()),
        )
    ).one_or_none()
    if found is None:
        return None
    now = utcnow()
    # Once a minute is enough to see which tokens are in use, and spares a write with every request.
    session.execute(
        update(ApiToken)
        .where(
            ApiToken.id == found.id,
            or_(ApiToken.last_used.is_(None), ApiToken.last_used < now - _USED_EVERY),
        )
        .values(last_used=now)
    )
    return str(found.username)


def _hash(secret: str) -> str:
    # The token is 256 random bits: a slow hash, made for guessable passwords, would add nothing.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
