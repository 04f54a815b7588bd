# SPDX-License-Identifier: Apache-2.0
"""File names as they travel and are stored: always valid, printable text, and reversible.

A name on disk is any bytes without ``/`` and NUL. Python shows bytes that are not UTF-8 as lone surrogates,
which neither JSON nor PostgreSQL takes; control characters would break logs and terminals. Such a part is
written as U+FFFD and two hexadecimal digits; U+FFFD itself as two of it. Ordinary names are not changed.
"""

from __future__ import annotations

import hashlib
import os
import re

_MARK = "\ufffd"
_SPECIAL = re.compile("[\x00-\x1f\x7f\udc80-\udcff\ufffd]")
_ESCAPED = re.compile("\ufffd(\ufffd|[0-9A-F]{2})")
_LIMIT = 255


def written(name: str) -> str:
    """Return the safe text of a name as Python reads it from a directory."""
    return _SPECIAL.sub(_escape, name)


def on_disk(text: str) -> str:
    """Return the name that :func:`written` made ``text`` of."""
    return _ESCAPED.sub(_unescape, text)


def problem(name: str) -> str | None:
    """Return what keeps a file of this name (as read from a directory) from being ingested, or None."""
    if any("\udc80" <= character <= "\udcff" for character in name):
        return "The file's name is not valid UTF-8."
    if any(character < " " or character == "\x7f" for character in name):
        return "The file's name contains a control character."
    if _MARK in name:
        return "The file's name contains the character U+FFFD, which stands for what could not be read."
    return None


def is_component(text: str) -> bool:
    """Tell whether a text from the wire names one entry of a directory."""
    if not text or text in (".", "..") or "/" in text or "\0" in text:
        return False
    try:
        text.encode()
        return len(os.fsencode(on_disk(text))) <= _LIMIT
    except UnicodeEncodeError:
        return False


def marked(text: str, mark: str) -> str:
    """Return a name that tells ``text`` from others of the same name, within what file systems take."""
    longer = f"{mark}.{text}"
    if len(os.fsencode(on_disk(longer))) <= _LIMIT:
        return longer
    return f"{mark}.{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character == _MARK:
        return _MARK + _MARK
    code = ord(character)
    return f"{_MARK}{code - 0xDC00 if code > 0x7F else code:02X}"


def _unescape(match: re.Match[str]) -> str:
    if match[1] == _MARK:
        return _MARK
    code = int(match[1], 16)
    return chr(code if code < 0x80 else 0xDC00 + code)
