# SPDX-License-Identifier: Apache-2.0
"""The stable id of a host's node agent, which workers of the host put on their claims and containers."""

from __future__ import annotations

import os
import re
import secrets
import socket
import uuid
from pathlib import Path

from scale_airflow.errors import InstallationError

_VALID = re.compile(r"^[0-9a-f]{32}$")


def agent_id(work_dir: Path) -> str:
    """Return this host's id, made and kept in ``work_dir`` on first use.

    The file carries the host's name, so hosts that share their work folder by mistake are still two.

    :raises InstallationError: if it can neither be read nor made.
    """
    path = work_dir / f"agent-{re.sub(r'[^A-Za-z0-9.-]', '_', socket.gethostname())}.id"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        found = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InstallationError(
            f"The id of this host's agent can't be kept in {path}: {error}.",
            "Let [scale] work_dir name a folder that the worker's user may write to.",
        ) from error
    if not _VALID.match(found):
        raise InstallationError(f"The file {path} holds no agent id.", "Remove it; a new one will be made.")
    return found


def _make(path: Path) -> None:
    """Make the file so that it is complete at once, and the first of several makers wins."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(uuid.uuid4().hex + "\n", encoding="ascii")
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
