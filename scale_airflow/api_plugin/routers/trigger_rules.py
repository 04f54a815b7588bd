# SPDX-License-Identifier: Apache-2.0
"""Trigger rules: what starts jobs and recipes by itself. They are made and changed with their types."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from scale_airflow.api_plugin.auth import requires
from scale_airflow.api_plugin.listing import ordered_by, page_of
from scale_airflow.api_plugin.parameters import Flag, OneOf, PathId
from scale_airflow.api_plugin.replies import Reply
from scale_airflow.api_plugin.views import types
from scale_airflow.services import rule_lists
from scale_airflow.services.listing import Window
from scale_airflow.store.session import transaction

router = APIRouter(
    tags=["Trigger rules"],
    # A rule says what its type is and does, and may be of either.
    dependencies=[
        Depends(requires("GET", "Scale Job Types")),
        Depends(requires("GET", "Scale Recipe Types")),
    ],
)


@router.get("/trigger-rules/", summary="Trigger rule list")
def list_rules(
    request: Request,
    window: Annotated[Window, ordered_by(rule_lists.RULE_FIELDS)],
    type: Annotated[
        str | None, OneOf(*rule_lists.RULE_TYPES), Query(description="Only rules of this type.")
    ] = None,
    name: Annotated[list[str], Query(description="Only rules with this name; repeatable.")] = [],  # noqa: B006 - FastAPI copies it
    is_active: Annotated[
        Flag, Query(description="Only rules that are active, or only those that are not.")
    ] = None,
) -> Reply:
    """Return all trigger rules, in the order of `last_modified` unless another is asked for.

    Each comes with the job type or recipe type that it starts. One that was replaced or removed has neither,
    and says in `archived` when that was; Scale's own clock rules have none either.
    """
    with transaction() as session:
        found = rule_lists.list_rules(session, window, kind=type, names=name, is_active=is_active)
        return page_of(request, window, found, types.owned_rule)


@router.get("/trigger-rules/{rule_id}/", summary="Trigger rule details")
def get_rule(rule_id: PathId) -> Reply:
    """Return a trigger rule with its configuration, also one that was archived."""
    with transaction() as session:
        return Reply(types.owned_rule(rule_lists.get_rule(session, rule_id)))
