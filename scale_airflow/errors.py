# SPDX-License-Identifier: Apache-2.0
"""Every exception of this package.

The tree::

    ScaleError
    ├── InvalidDocument        a document breaks its specification (all faults at once)
    ├── InvalidRequest         a request has a wrong parameter, field or header
    ├── NotFound               the thing that a request names does not exist
    ├── Conflict               the thing exists but its state forbids the request
    ├── Forbidden              the caller may not do this
    ├── Unauthenticated        the caller did not say, or could not prove, who it is
    ├── InstallationError      the installation is misconfigured; carries the remedy
    ├── EngineError            Airflow refused or failed a server-side operation
    ├── WorkspaceError         a workspace's directory can't be read or written, or a path leaves it
    ├── ExecutionFailure       a job execution failed on its worker; carries the Scale error's name
    ├── ScaleApiError          a Scale API server answered an error, or could not be reached
    └── RescaleError           something went wrong between us and Rescale
        ├── RescaleUnreachable     no answer, or half of one, within the time and the attempts there were
        ├── RescaleUnauthorized    the key was not accepted (wrong, expired, other region) or may not do this
        ├── RescaleNotFound        what the request names does not exist there, or not for this user
        ├── RescaleRefused         the request was understood and refused; ``faults`` says field by field why
        ├── RescaleThrottled       too many requests, longer than we are ready to wait
        ├── RescaleServerError     Rescale failed (5xx) at every attempt
        ├── RescaleBadAnswer       the answer is not what this API answers
        ├── RescaleUncertain       whether a request that must not be repeated took effect is not known
        ├── RescaleJobFailed       a job ended, but not well; carries the reason and the last lines of its log
        ├── RescaleCostRefused     a job would cost more than its author allows; carries the figure
        └── TransferError          a file did not get to or from Rescale
            ├── CorruptTransfer        its bytes arrived, but are not those that its checksum promises
            └── UnsafeName             its name would lead out of the directory it is meant for
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a document or request.

    :param path: JSON pointer (RFC 6901) into the document, ``""`` for the document itself;
        for a request the name of the parameter.
    :param message: one sentence: what was found, what is allowed, the nearest valid name.
    :param rule: the stable identifier of the broken rule, e.g. ``"job-interface.unknown-input"``.
    """

    path: str
    message: str
    rule: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the form in which the REST API shows a fault."""
        return {"path": self.path, "message": self.message}


@dataclass(frozen=True, slots=True)
class DocumentWarning:
    """Something about a valid document that its author should know (shown as ``{"id", "details"}``)."""

    id: str
    details: str

    def as_dict(self) -> dict[str, str]:
        """Return the form in which the REST API shows a warning."""
        return {"id": self.id, "details": self.details}


class ScaleError(Exception):
    """Base of all errors that this package raises on purpose; its text is fit for users."""


def listed(faults: Sequence[Fault]) -> str:
    """Return faults, the first 20 of them, as one text."""
    shown = "; ".join(f"{fault.path or '/'}: {fault.message.rstrip('.')}" for fault in faults[:20])
    more = f" (and {len(faults) - 20} more)" if len(faults) > 20 else ""
    return f"{shown}{more}."


class InvalidDocument(ScaleError):
    """A document breaks its specification; ``faults`` lists every fault, in document order."""

    def __init__(self, kind: str, faults: Iterable[Fault]):
        self.kind = kind
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__(kind, self.faults)

    def __str__(self) -> str:
        return f"Invalid {self.kind}: {listed(self.faults)}"


class InvalidRequest(ScaleError):
    """A request has a wrong parameter, field or header; ``faults`` may name several."""

    def __init__(self, detail: str, faults: Sequence[Fault] = ()):
        self.detail = detail
        self.faults = tuple(faults)
        super().__init__(detail)


class NotFound(ScaleError):
    """The thing that a request names does not exist."""


class Conflict(ScaleError):
    """The thing exists but its state forbids the request."""


class Forbidden(ScaleError):
    """The caller may not do this."""


class Unauthenticated(ScaleError):
    """The caller did not say, or could not prove, who it is."""


class InstallationError(ScaleError):
    """The installation is misconfigured; ``remedy`` says what to do about it."""

    def __init__(self, problem: str, remedy: str):
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}")


class EngineError(ScaleError):
    """Airflow refused or failed a server-side operation."""


class WorkspaceError(ScaleError):
    """A workspace's directory can't be read or written, or a path leaves it."""


class ExecutionFailure(ScaleError):
    """A job execution failed on its worker.

    :param error_name: the name of the built-in Scale error (``"unknown"``, ``"timeout"``,
        ``"filesystem-io"`` …); the exit code's own mapping is applied by the API server.
    :param exit_code: the exit code of the job's process, where it has one.
    """

    def __init__(self, message: str, *, error_name: str = "unknown", exit_code: int | None = None):
        self.error_name = error_name
        self.exit_code = exit_code
        super().__init__(message)


class ScaleApiError(ScaleError):
    """A Scale API server answered an error (``status``), or could not be reached (``status`` is None)."""

    def __init__(self, message: str, *, status: int | None = None, faults: Sequence[Fault] = ()):
        self.status = status
        self.faults = tuple(faults)
        super().__init__(message)


class RescaleError(ScaleError):
    """Something went wrong between us and Rescale.

    :param status: the HTTP status of the answer, None where there was none.
    :param job_id: the job that the request was about.
    :param detail: Rescale's own explanation in one line, as far as it gave one.
    """

    def __init__(
        self, message: str, *, status: int | None = None, job_id: str | None = None, detail: str = ""
    ):
        self.status = status
        self.job_id = job_id
        self.detail = detail
        super().__init__(message)


class RescaleUnreachable(RescaleError):
    """No answer, or half of one, within the time and the attempts there were."""


class RescaleUnauthorized(RescaleError):
    """The key was not accepted (wrong, expired, of another region) or may not do this (401, 403)."""


class RescaleNotFound(RescaleError):
    """What the request names does not exist there, or not for this user (404)."""


class RescaleRefused(RescaleError):
    """The request was understood and refused (400 and its like); ``faults`` says field by field why.

    :param faults: JSON pointers into the request's body with Rescale's words about them.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        job_id: str | None = None,
        detail: str = "",
        faults: Iterable[Fault] = (),
    ):
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__(message, status=status, job_id=job_id, detail=detail)


class RescaleThrottled(RescaleError):
    """Too many requests, longer than we are ready to wait.

    :param retry_after: seconds after which Rescale (or our own bucket) lets requests pass again, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        job_id: str | None = None,
        detail: str = "",
        retry_after: float | None = None,
    ):
        self.retry_after = retry_after
        super().__init__(message, status=status, job_id=job_id, detail=detail)


class RescaleServerError(RescaleError):
    """Rescale failed (5xx) at every attempt."""


class RescaleBadAnswer(RescaleError):
    """The answer is not what this API answers: no JSON, another form, a link to another server."""


class RescaleUncertain(RescaleError):
    """Whether a request that must not be repeated (create, submit) took effect is not known.

    Look before asking again: at the job's statuses, or for the job by its marker.
    """


class RescaleJobFailed(RescaleError):
    """A job ended, but not well.

    :param reason: why, in Rescale's words or ours.
    :param last_lines: the end of its ``process_output.log``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        job_id: str | None = None,
        detail: str = "",
        reason: str = "",
        last_lines: Iterable[str] = (),
    ):
        self.reason = reason
        self.last_lines: tuple[str, ...] = tuple(last_lines)
        super().__init__(message, status=status, job_id=job_id, detail=detail)


class RescaleCostRefused(RescaleError):
    """A job would cost more than its author allows, or its cost can't be told.

    :param estimate: what it would cost, in the currency of Rescale's prices; None if that can't be told.
    :param limit: what it may cost.
    """

    def __init__(
        self,
        message: str,
        *,
        estimate: Decimal | None = None,
        limit: Decimal | None = None,
        job_id: str | None = None,
    ):
        self.estimate = estimate
        self.limit = limit
        super().__init__(message, job_id=job_id)


class TransferError(RescaleError):
    """A file did not get to or from Rescale.

    :param name: the file's name or path, as far as one is known.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        job_id: str | None = None,
        detail: str = "",
        name: str = "",
    ):
        self.name = name
        super().__init__(message, status=status, job_id=job_id, detail=detail)


class CorruptTransfer(TransferError):
    """A file's bytes arrived, but are not those that its checksum promises."""


class UnsafeName(TransferError):
    """A file's name would lead out of the directory it is meant for."""
