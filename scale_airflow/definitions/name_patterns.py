# SPDX-License-Identifier: Apache-2.0
"""Regular expressions for file names, matched in linear time.

A pattern comes from a user and is matched against names that anyone who may drop a file chooses, so it must
not be able to backtrack for hours: RE2 matches instead of Python's ``re``. It has no look-around and no
backreferences, which are refused by name.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2  # type: ignore[import-untyped]

_UNSUPPORTED = re.compile(r"(?<!\\)(?:\\\\)*(?P<what>\(\?(?:<?[=!]|P=|\()|\\[1-9])")
_ESCAPE = re.compile(r"\\.", re.DOTALL)


def pattern_problem(pattern: str) -> str | None:
    """Return what keeps a pattern from being used, as a sentence, or None."""
    found = _UNSUPPORTED.search(pattern)
    try:
        _compiled(pattern)
    except re2.error as error:
        if found:
            return (
                f'The pattern uses "{found["what"]}": look-around, backreferences and conditions '
                "are not allowed, because matching them can take hours."
            )
        reason = error.args[0] if error.args else error
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return f"The pattern is not a valid regular expression: {text}."
    return None


def matches(pattern: str, file_name: str) -> bool:
    """Say whether a valid pattern matches the beginning of a file name (as Python's ``re.match`` does)."""
    # A name that is not UTF-8 has lone surrogates in Python; RE2 wants real text.
    text = file_name.encode("utf-8", "replace").decode()
    return _compiled(pattern).match(text) is not None


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    # The end of the text is \Z in Python and \z in RE2.
    translated = _ESCAPE.sub(lambda escape: r"\z" if escape[0] == r"\Z" else escape[0], pattern)
    return re2.compile(translated, options)
