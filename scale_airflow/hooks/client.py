# SPDX-License-Identifier: Apache-2.0
"""A plain HTTP client of the Scale REST API, and of the runtime endpoints that workers use."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from scale_airflow.errors import Fault, ScaleApiError
from scale_airflow.execution.file_duties import (
    DutyAnswer,
    DutyRequest,
    DutyResult,
    SweepAnswer,
    SweepQuestion,
)
from scale_airflow.execution.order import (
    BeatAnswer,
    BeatReport,
    ClaimAnswer,
    ClaimRequest,
    CompletionReport,
    FailureReport,
    LogChunk,
    NodeAnswer,
    NodeBeat,
    ReportAnswer,
    ReserveAnswer,
)
from scale_airflow.execution.wire import MessageError, MessageT
from scale_airflow.execution.workspace_sizes import SizesReport, WorkspaceList

API = "/scale/api"
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
_RETRIED = (502, 503, 504)
_ATTEMPTS = 4
_MAX_DETAIL = 2000


class ScaleClient:
    """Speaks to one Scale API server.

    :param base_url: the Airflow API server with its path prefix, e.g. ``http://localhost:8080/air``.
    :param token: sent as ``Authorization: Bearer``; never part of a text.
    :param attempts: how often a request is tried that may be repeated without harm, when the server can't be
        reached or answers 502, 503 or 504.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None,
        *,
        attempts: int = _ATTEMPTS,
        timeout: float = READ_TIMEOUT,
        verify: bool | str = True,
    ):
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._attempts = attempts
        self._timeout = timeout
        self._session = requests.Session()
        self._session.verify = verify

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown_url(self.base_url)!r})"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the parsed answer of ``GET``; a parameter may be a list.

        :param path: below ``/scale/api``, e.g. ``/jobs/7/``.
        :raises ScaleApiError: if the server can't be reached or answers an error.
        """
        return self.request("GET", path, parameters=parameters, repeatable=True)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        parameters: Mapping[str, Any] | None = None,
        token: str | None = None,
        repeatable: bool = False,
        attempts: int | None = None,
    ) -> Any:
        """Send a request and return the parsed JSON of the answer (None without a body).

        :param token: used in place of the client's own.
        :param repeatable: the request may be repeated without harm.
        :raises ScaleApiError: if the server can't be reached or answers an error.
        """
        left = (self._attempts if attempts is None else attempts) if repeatable else 1
        pause = 0.2
        while True:
            left -= 1
            try:
                response = self._send(method, path, body, parameters, token or self._token)
            except ScaleApiError:
                if not left:
                    raise
            else:
                if not left or response.status_code not in _RETRIED:
                    return _answer(response, method, path)
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            pause *= 2

    def clock(self) -> datetime | None:
        """Return what time it is for the server, to the second; None if it does not tell.

        :raises ScaleApiError: if the server can't be reached.
        """
        told = self._send("GET", "/version/", None, None, None).headers.get("Date")
        try:
            return parsedate_to_datetime(told) if told else None
        except ValueError:
            return None

    def _send(
        self, method: str, path: str, body: Any, parameters: Mapping[str, Any] | None, token: str | None
    ) -> requests.Response:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            return self._session.request(
                method,
                f"{self.base_url}{API}{path}",
                json=body,
                params=parameters,
                headers=headers,
                timeout=(CONNECT_TIMEOUT, self._timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ScaleApiError(unreachable(self.base_url, error)) from None


class RuntimeClient(ScaleClient):
    """What workers, their agents and the DAG bundle say to the API server (``/scale/api/runtime/``)."""

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Claim the execution of a task's running try."""
        answer = self.request("POST", "/runtime/claim/", body=request.to_dict(), repeatable=True)
        return _read(ClaimAnswer, answer)

    def reserve(self, request: ClaimRequest) -> ReserveAnswer:
        """Ask whether there is room by now for a task that was told to wait."""
        answer = self.request("POST", "/runtime/reserve/", body=request.to_dict(), repeatable=True)
        return _read(ReserveAnswer, answer)

    def places(self) -> dict[str, dict[str, Any]]:
        """Return the configurations of ``workspaces`` and ``strikes`` by name, for a look at a host's mounts.

        :raises ScaleApiError: if the server can't be reached or refuses, or answers something else.
        """
        answer = self.get("/runtime/places/")
        kinds = ("workspaces", "strikes")
        if not isinstance(answer, dict) or not all(isinstance(answer.get(kind), dict) for kind in kinds):
            raise ScaleApiError("The API server answers something else than directories: is it Scale's?")
        return {kind: answer[kind] for kind in kinds}

    def execution(self, execution_id: int, token: str) -> ExecutionClient:
        """Return the client that speaks for one execution."""
        return ExecutionClient(self, execution_id, token)

    def node_beat(self, beat: NodeBeat) -> NodeAnswer:
        """Send a node agent's sign of life."""
        answer = self.request(
            "POST", "/runtime/nodes/beat/", body=beat.to_dict(), repeatable=True, attempts=1
        )
        return _read(NodeAnswer, answer)

    def file_duties(self, request: DutyRequest) -> DutyAnswer:
        """Ask what is to be moved and removed in workspaces."""
        answer = self.request("POST", "/runtime/file-duties/", body=request.to_dict(), repeatable=True)
        return _read(DutyAnswer, answer)

    def file_duty_result(self, result: DutyResult) -> None:
        """Say what became of that."""
        self.request("POST", "/runtime/file-duties/result/", body=result.to_dict(), repeatable=True)

    def file_duty_sweep(self, question: SweepQuestion) -> SweepAnswer:
        """Ask which files of a swept folder belong to nothing."""
        answer = self.request("POST", "/runtime/file-duties/sweep/", body=question.to_dict(), repeatable=True)
        return _read(SweepAnswer, answer)

    def workspaces(self) -> WorkspaceList:
        """Return the workspaces that are in use."""
        return _read(WorkspaceList, self.get("/runtime/workspaces/"))

    def report_sizes(self, report: SizesReport) -> None:
        """Say how full the disks of workspaces are."""
        self.request("POST", "/runtime/workspaces/sizes/", body=report.to_dict(), repeatable=True)

    def dag_files(self, after: int = 0) -> list[dict[str, Any]]:
        """Return id, file_name and sha256 of the generated DAG files with an id above ``after``."""
        answer = self.get("/runtime/dag-files/", after=after)
        if not isinstance(answer, dict) or not isinstance(answer.get("files"), list):
            raise ScaleApiError("The API server's list of DAG files can't be read.")
        return list(answer["files"])

    def dag_file(self, file_name: str) -> str:
        """Return the text of a generated DAG file."""
        if "/" in file_name or file_name in ("", ".", ".."):
            raise ScaleApiError(f"{file_name!r} is not the name of a DAG file.")
        response = self._send("GET", f"/runtime/dag-files/{file_name}", None, None, self._token)
        if not response.ok:
            _answer(response, "GET", f"/runtime/dag-files/{file_name}")
        return response.content.decode("utf-8")


class ExecutionClient:
    """Speaks for one execution with the token of its claim; every report may be repeated."""

    def __init__(self, client: ScaleClient, execution_id: int, token: str):
        self._client = client
        self._path = f"/runtime/executions/{execution_id}"
        self._token = token

    def __repr__(self) -> str:
        return f"ExecutionClient({self._client!r}, {self._path!r})"

    def log(self, chunk: LogChunk) -> None:
        """Send a piece of the job's output."""
        self._post("log", chunk.to_dict(), attempts=1)

    def beat(self, report: BeatReport) -> BeatAnswer:
        """Send a sign of life; the answer says whether to go on."""
        return _read(BeatAnswer, self._post("beat", report.to_dict(), attempts=1))

    def complete(self, report: CompletionReport) -> ReportAnswer:
        """Report the job's success."""
        return _read(ReportAnswer, self._post("complete", report.to_dict()))

    def fail(self, report: FailureReport) -> ReportAnswer:
        """Report the job's failure."""
        return _read(ReportAnswer, self._post("fail", report.to_dict()))

    def _post(self, what: str, body: dict[str, Any], attempts: int | None = None) -> Any:
        return self._client.request(
            "POST",
            f"{self._path}/{what}/",
            body=body,
            token=self._token,
            repeatable=True,
            attempts=attempts,
        )


def shown_url(base_url: str) -> str:
    """Return a base URL for texts: without user and password, should it have them."""
    scheme, separator, rest = base_url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def unreachable(base_url: str, error: Exception) -> str:
    """Return the text for a server that did not answer, without what an URL or header may hold."""
    return f"The Scale API server at {shown_url(base_url)} can't be reached: {type(error).__name__}."


def error_of(status: int, document: object, method: str, path: str) -> ScaleApiError:
    """Return the error for an answer that is not a success, with the server's own explanation."""
    detail, faults = "", []
    if isinstance(document, dict):
        detail = str(document.get("detail", ""))[:_MAX_DETAIL]
        errors = document.get("errors")
        if isinstance(errors, list):
            faults = [
                Fault(str(row.get("path", "")), str(row.get("message", "")))
                for row in errors
                if isinstance(row, dict)
            ]
    shown = "".join(f"; {fault.path or '/'}: {fault.message}" for fault in faults[:20])
    text = f"{method} {path} was answered {status}: {detail or 'no explanation'}{shown}"
    return ScaleApiError(text, status=status, faults=faults)


def _answer(response: requests.Response, method: str, path: str) -> Any:
    try:
        document = response.json() if response.content else None
    except ValueError:
        document = None
        if response.ok:
            raise ScaleApiError(
                f"{method} {path}: the answer is not JSON. Is this the address of an Airflow API server with "
                "Scale?",
                status=response.status_code,
            ) from None
    if not 200 <= response.status_code < 300:
        raise error_of(response.status_code, document, method, path)
    return document


def _read(kind: type[MessageT], document: object) -> MessageT:
    try:
        return kind.from_dict(document)
    except MessageError as error:
        raise ScaleApiError(
            f"The API server's answer can't be understood; do both run the same version? {error}"
        ) from None
