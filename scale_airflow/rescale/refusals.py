# SPDX-License-Identifier: Apache-2.0
"""What Rescale says when it refuses: the nested errors of Django REST Framework, made flat and readable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scale_airflow.errors import (
    Fault,
    RescaleBadAnswer,
    RescaleError,
    RescaleNotFound,
    RescaleRefused,
    RescaleUnauthorized,
)
from scale_airflow.rescale.calls import Call
from scale_airflow.rescale.credentials import REGIONS

_MAX_FAULTS = 100
_MAX_DEPTH = 20
_MAX_TEXT = 2000
_NON_FIELD = ("non_field_errors", "__all__")


@dataclass(frozen=True)
class Explanation:
    """What the body of an answer that is no success says.

    :param text: one line.
    :param faults: the same by field, as JSON pointers into the request's body.
    :param server: the address that answered.
    """

    text: str
    faults: tuple[Fault, ...] = ()
    server: str = ""

    @property
    def after_colon(self) -> str:
        """The text as the end of a sentence."""
        return f": {self.text.rstrip('.')}" if self.text else ""


def explain(body: bytes, *, server: str, secret: str) -> Explanation:
    """Read an error's body: ``{"detail": …}``, messages by field (nested, by list index), or no JSON at all.

    :param secret: the key; should the server repeat it, it is not shown.
    """
    try:
        document = json.loads(body.decode("utf-8", "replace")) if body.strip() else None
    except (ValueError, RecursionError):
        # A proxy's page says nothing that a user could read in one line.
        return Explanation("", server=server)
    faults = tuple(
        Fault(_line(fault.path, secret), _line(fault.message, secret), "rescale")
        for fault, _ in zip(_flat(document, ""), range(_MAX_FAULTS), strict=False)
    )
    said = [f"{fault.path}: {fault.message}" if fault.path else fault.message for fault in faults[:20]]
    shown = "; ".join([*(text.rstrip(".") for text in said[:-1]), *said[-1:]])
    return Explanation(shown[:_MAX_TEXT], faults, server)


def refusal(call: Call[Any], status: int, explanation: Explanation) -> RescaleError:
    """Return the error for an answer that is neither a success nor worth another attempt."""
    text, kind = _words(call, status, explanation)
    if kind is RescaleRefused:
        return RescaleRefused(
            text, status=status, job_id=call.job_id, detail=explanation.text, faults=explanation.faults
        )
    return kind(text, status=status, job_id=call.job_id, detail=explanation.text)


def _words(call: Call[Any], status: int, explanation: Explanation) -> tuple[str, type[RescaleError]]:
    server, said = explanation.server, f"({status}){explanation.after_colon}."
    if status == 401:
        text = f"{call}: Rescale at {server} did not accept the API key {said} {_remedy(explanation)}"
        return text, RescaleUnauthorized
    if status == 403:
        remedy = _remedy(explanation, "Ask an administrator of the workspace for the permission.")
        text = f"{call}: Rescale does not allow this to the user of the API key {said} {remedy}"
        return text, RescaleUnauthorized
    if 300 <= status < 400:
        text = f"{call}: {server} redirects elsewhere ({status}), unfollowed. Is it Rescale's address?"
        return text, RescaleBadAnswer
    advice = f" {call.advice}" if call.advice else ""
    if status == 404:
        text = f"{call}: there is no such thing at {server}, or not for this user {said}{advice}"
        return text, RescaleNotFound
    return f"{call}: Rescale has refused it {said}{advice}", RescaleRefused


def _remedy(explanation: Explanation, otherwise: str = "") -> str:
    said = explanation.text.lower()
    if "no longer active" in said or "expired" in said:
        return "The key has expired: make a new one in Rescale's user profile, section API."
    if "inactive or deleted" in said:
        return "The user was deactivated: ask an administrator of the workspace, or use another user's key."
    if otherwise and "token" not in said and "credentials" not in said:
        return otherwise
    regions = ", ".join(REGIONS.values())
    return (
        "Check the key (Rescale's user profile, section API) and the address: a key is valid in one region "
        f"only ({regions})."
    )


def _flat(document: Any, path: str, depth: int = 0) -> Iterator[Fault]:
    if document is None or document in ("", [], {}):
        return
    if depth > _MAX_DEPTH or not isinstance(document, (dict, list)):
        yield Fault(path, str(document))
    elif isinstance(document, dict):
        for key, value in document.items():
            # "detail" at the top is DRF's word for the request as a whole.
            here = key in _NON_FIELD or (key == "detail" and not path)
            yield from _flat(value, path if here else f"{path}/{_escaped(str(key))}", depth + 1)
    else:
        for index, value in enumerate(document):
            nested = isinstance(value, (dict, list))
            yield from _flat(value, f"{path}/{index}" if nested else path, depth + 1)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _line(text: str, secret: str) -> str:
    text = text.replace(secret, "***")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MAX_TEXT]
