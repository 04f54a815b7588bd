# SPDX-License-Identifier: Apache-2.0
"""How workers are known to the runtime endpoints: by the connection's secret, or by an execution's token."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, Path, Request
from starlette.concurrency import run_in_threadpool

from scale_airflow.definitions.documents import load_json
from scale_airflow.errors import InvalidRequest, Unauthenticated
from scale_airflow.execution.wire import Message, MessageError
from scale_airflow.services.executions import authenticate
from scale_airflow.services.runtime_secret import RuntimeSecret
from scale_airflow.store.session import transaction

MessageT = TypeVar("MessageT", bound=Message)

_SECRET = RuntimeSecret()


async def bearer(request: Request) -> str:
    """Return the bearer token of a request.

    :raises Unauthenticated: if it has none.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise Unauthenticated("Send the secret or token as `Authorization: Bearer …`.")
    return value.strip()


async def require_secret(given: Annotated[str, Depends(bearer)]) -> None:
    """Let through who knows the secret of the workers' connection."""
    if not _SECRET.is_known(given):
        await run_in_threadpool(_SECRET.check, given)


ExecutionId = Annotated[int, Path(description="The job execution that the token was given for.")]


def require_token(execution_id: ExecutionId, given: Annotated[str, Depends(bearer)]) -> int:
    """Let through who holds the token of the execution that the path names."""
    with transaction() as session:
        authenticate(session, execution_id, given)
    return execution_id


async def raw_body(request: Request) -> bytes:
    """Return the body of a request, so that the endpoint itself may run in a thread."""
    return await request.body()


def read_message(kind: type[MessageT], body: bytes) -> MessageT:
    """Read one of the wire types from a body.

    :raises InvalidRequest: with every fault.
    :raises InvalidDocument: if the body is not JSON.
    """
    try:
        return kind.from_dict(load_json(body))
    except MessageError as error:
        raise InvalidRequest(str(error), error.faults) from None
