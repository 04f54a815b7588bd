# SPDX-License-Identifier: Apache-2.0
"""Every error as one JSON form: ``{"detail": "<one sentence>", "errors": [{"path", "message"}]}``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, TimeoutError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from scale_airflow.api_plugin.replies import Reply, refusal
from scale_airflow.errors import (
    Conflict,
    Fault,
    Forbidden,
    InstallationError,
    InvalidDocument,
    InvalidRequest,
    NotFound,
    ScaleError,
    Unauthenticated,
    listed,
)

log = logging.getLogger(__name__)

RETRY = {"Retry-After": "1"}


class BodyTooLargeError(ScaleError):
    """The body of a request is longer than this API reads."""


class BodyEncodingError(ScaleError):
    """The body of a request has an encoding that this API does not read."""


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in the API's form."""
    app.add_exception_handler(ScaleError, _scale_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _wrong_parameters)
    app.add_exception_handler(ClientDisconnect, _client_left)
    for kind in (DBAPIError, TimeoutError, StaleDataError):
        app.add_exception_handler(kind, _database_error)


def note(request: Request, faults: Sequence[Fault]) -> None:
    """Keep what is wrong with a request until it is known whether its parameters are right.

    FastAPI refuses wrong parameters before an endpoint begins, and asks nothing else. What is noted is told
    with them; who notes something refuses it himself where the parameters are right.
    """
    request.state.noted = [*_noted(request), *faults]


def _noted(request: Request) -> list[Fault]:
    return getattr(request.state, "noted", [])


def unexpected(request: Request, error: Exception) -> Reply:
    """Answer an error that nobody foresaw: the log has the story, the caller one sentence."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return refusal(500, "The server failed to answer this request; its log says why.")


_STATUS: tuple[tuple[type[ScaleError], int], ...] = (
    (InvalidDocument, 400),
    (InvalidRequest, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (BodyTooLargeError, 413),
    (BodyEncodingError, 415),
)


def _scale_error(request: Request, error: Exception) -> Reply:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
    headers = {}
    if status == 401:
        # Not "Basic": a browser would ask for a password and then send it along with every request.
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        known = isinstance(error, InstallationError)
        place = (request.method, request.url.path)
        log.error("%s %s could not be served: %s", *place, error, exc_info=None if known else error)
        if not known:
            headers.update(RETRY)
    faults: Sequence[Fault] = getattr(error, "faults", ())
    return refusal(status, str(error), [fault.as_dict() for fault in faults], headers)


def _http_exception(request: Request, error: Exception) -> Reply:
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else HTTPStatus(error.status_code).phrase
    if error.status_code == 404 and detail == "Not Found":
        detail = f"There is nothing at {request.url.path}."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not allowed here; allowed: {allowed or 'nothing'}."
    return refusal(error.status_code, detail, headers=error.headers)


def _client_left(request: Request, _error: Exception) -> Reply:
    """Answer nobody: the client (a worker that was killed) was gone before its request was whole."""
    log.info("%s %s: the client left before its request was whole", request.method, request.url.path)
    return refusal(400, "The request ended before its body was complete.")


def _wrong_parameters(request: Request, error: Exception) -> Reply:
    assert isinstance(error, RequestValidationError)
    faults = []
    missing_thing = False
    for each in error.errors():
        place, *names = [str(part) for part in each["loc"]]
        missing_thing = missing_thing or place == "path"
        message = str(each["msg"]).removeprefix("Value error, ")
        faults.append(Fault(names[0] if names else place, message))
    if missing_thing:  # what can't be an identifier names nothing
        return refusal(404, f"There is nothing at {request.url.path}.")
    faults += _noted(request)
    told = f"The request has wrong parameters: {listed(faults)}"
    return refusal(400, told, [fault.as_dict() for fault in faults])


def _database_error(request: Request, error: Exception) -> Reply:
    """Answer for the database: what it refuses because of the input is 400, because of others 409 or 503."""
    if isinstance(error, IntegrityError | StaleDataError):
        log.warning("%s %s met a conflicting change: %s", request.method, request.url.path, error)
        return refusal(409, "Another change came in between; repeat the request.", headers=RETRY)
    if isinstance(error, DataError):
        log.warning(
            "%s %s has a value that PostgreSQL can't hold: %s", request.method, request.url.path, error
        )
        return refusal(400, "A value in this request is outside of what can be stored.")
    if isinstance(error, OperationalError | TimeoutError) or getattr(error, "connection_invalidated", False):
        log.error("%s %s: the database did not answer", request.method, request.url.path, exc_info=error)
        return refusal(503, "The database did not answer in time; repeat the request.", headers=RETRY)
    return unexpected(request, error)
