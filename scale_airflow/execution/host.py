# SPDX-License-Identifier: Apache-2.0
"""Which host this is: its name, and the stable id of its node agent."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import uuid
from pathlib import Path

_ID_FILE = "agent_id"
_VALID = re.compile(r"[A-Za-z0-9-]{8,64}")


def hostname() -> str:
    """Return the name under which this host is known as a node."""
    return socket.gethostname()


def agent_id(work_dir: Path) -> str | None:
    """Return the id of the node agent whose scratch folder this is; None before its first start."""
    try:
        text = (work_dir / _ID_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _VALID.fullmatch(text) else None


def make_agent_id(work_dir: Path, wanted: str | None = None) -> str:
    """Return the agent's id, made at its first start and kept in the scratch folder for ever.

    :param wanted: keep this one from now on.
    :raises OSError: if the folder can't be written to.
    :raises ValueError: if ``wanted`` can't be an id.
    """
    if wanted is not None and not _VALID.fullmatch(wanted):
        raise ValueError(f"{wanted!r} can't be an agent's id: 8 to 64 letters, digits and dashes.")
    work_dir.mkdir(parents=True, exist_ok=True)
    known = agent_id(work_dir)
    if known is not None and wanted in (None, known):
        return known
    with tempfile.NamedTemporaryFile("w", dir=work_dir, prefix=".agent_id.", delete=False) as file:
        file.write(f"{wanted or uuid.uuid4()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if wanted is not None or (work_dir / _ID_FILE).exists():  # damaged: whoever it was can't be told
            os.replace(file.name, work_dir / _ID_FILE)
        else:
            # Of two that start at once, one wins and both read its id.
            os.link(file.name, work_dir / _ID_FILE)
    except FileExistsError:
        pass
    finally:
        Path(file.name).unlink(missing_ok=True)
    made = agent_id(work_dir)
    assert made is not None
    return made
