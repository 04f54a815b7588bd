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
    └── ScaleApiError          a Scale API server answered an error, or could not be reached
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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


class InvalidDocument(ScaleError):
    """A document breaks its specification; ``faults`` lists every fault, in document order."""

    def __init__(self, kind: str, faults: Iterable[Fault]):
        self.kind = kind
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__(kind, self.faults)

    def __str__(self) -> str:
        shown = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in self.faults[:20])
        more = f" (and {len(self.faults) - 20} more)" if len(self.faults) > 20 else ""
        return f"Invalid {self.kind}: {shown}{more}"


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
