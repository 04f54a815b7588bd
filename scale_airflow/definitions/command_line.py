# SPDX-License-Identifier: Apache-2.0
"""Turn ``command_arguments`` and the inputs' values into an argument list, without any shell.

The text is split into words first, like a POSIX shell splits (quotes and backslashes, but no comments,
expansions or operators), and only then are ``${NAME}`` and ``${FLAG:NAME}`` replaced. So a value always stays
inside its one argument, byte for byte, whatever characters it has. What stands between ``${`` and ``}`` is
never split.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from scale_airflow.definitions.faults import Faults, quote

OUTPUT_DIRECTORY = "job_output_dir"
"""The special name that stands for the directory where the algorithm writes its files."""

_WHITESPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``${FLAG:NAME}``, which stands at ``text[start:end]``; ``flag`` is empty for ``${NAME}``."""

    name: str
    flag: str
    start: int
    end: int


Word: TypeAlias = "tuple[str | Placeholder, ...]"
"""The literal texts and placeholders that make up one argument."""


@dataclass(frozen=True, slots=True)
class CommandTemplate:
    """A command line with places for values."""

    text: str
    words: tuple[Word, ...]

    @classmethod
    def parse(cls, text: str) -> CommandTemplate:
        """Split a command line into words.

        :raises InvalidDocument: a quote or ``${`` is not closed, or the text ends in a backslash.
        """
        faults = Faults()
        template = cls.read(text, faults, "")
        faults.refuse("command line", text)
        return template

    @classmethod
    def read(cls, text: str, faults: Faults, place: str) -> CommandTemplate:
        """Split a command line into words, adding what is wrong with it to ``faults`` at ``place``."""
        words, problem = _split(text)
        if problem is not None:
            faults.add(place, "command-line.not-closed", problem)
        return cls(text, words)

    def placeholders(self) -> tuple[Placeholder, ...]:
        """Return every placeholder in the order of the text."""
        return tuple(part for word in self.words for part in word if isinstance(part, Placeholder))

    def names(self) -> tuple[str, ...]:
        """Return the names that are used, each once, in the order of the text, with ``job_output_dir``."""
        return tuple(dict.fromkeys(placeholder.name for placeholder in self.placeholders()))

    def render(self, values: Mapping[str, str | None]) -> list[str]:
        """Return the arguments.

        :param values: the text for each name; None, or no entry, for an optional input that was not given:
            its ``${…}`` vanishes, and with it the argument if nothing else is in it.
        """
        return [argument for word in self.words for argument in _arguments(word, values)]

    def render_text(self, values: Mapping[str, str | None]) -> str:
        """Return the text with the names in ``values`` replaced and all others kept, for people to read.

        None removes a placeholder. The result is not meant to be split again.
        """
        shown: list[str] = []
        end = 0
        for placeholder in self.placeholders():
            if placeholder.name in values:
                value = values[placeholder.name]
                shown.append(self.text[end : placeholder.start])
                shown.append("" if value is None else placeholder.flag + value)
                end = placeholder.end
        shown.append(self.text[end:])
        return "".join(shown)


def _arguments(word: Word, values: Mapping[str, str | None]) -> list[str]:
    """Return the arguments of one word: none, one, or more where a flag ends in a space."""
    if all(isinstance(part, Placeholder) and values.get(part.name) is None for part in word) and word:
        return []
    done: list[str] = []
    current = ""
    for part in word:
        if isinstance(part, str):
            current += part
            continue
        value = values.get(part.name)
        if value is None:
            continue
        flag = part.flag.rstrip(" ")
        current += flag
        if flag != part.flag:
            if current:
                done.append(current)
            current = ""
        current += value
    return [*done, current]


# Names have no colon, so the last one ends the flag.
_PLACEHOLDER = re.compile(r"\$\{(?:(?P<flag>[^}]*):)?(?P<name>[^}]*)\}")


def _split(text: str) -> tuple[tuple[Word, ...], str | None]:
    """Return the words, and a sentence about the first thing that is not closed."""
    words: list[Word] = []
    parts: list[str | Placeholder] = []
    literal: list[str] = []
    in_word = False
    quoted_by = ""
    opened_at = 0
    problem: str | None = None

    def end_literal() -> None:
        if literal:
            parts.append("".join(literal))
            literal.clear()

    def end_word() -> None:
        end_literal()
        if in_word:
            words.append(tuple(parts))
        parts.clear()

    position = 0
    while position < len(text):
        character = text[position]
        if text.startswith("${", position):
            match = _PLACEHOLDER.match(text, position)
            if match is None:
                problem = f'The "${{" at character {position + 1} is not closed by a "}}".'
                literal.append("${")
                in_word = True
                position += 2
                continue
            end_literal()
            parts.append(Placeholder(match["name"], match["flag"] or "", position, match.end()))
            in_word = True
            position = match.end()
            continue
        if quoted_by:
            if character == quoted_by:
                quoted_by = ""
            elif quoted_by == '"' and character == "\\" and text[position + 1 : position + 2] in ('"', "\\"):
                position += 1
                literal.append(text[position])
            elif quoted_by == '"' and text.startswith("\\${", position):
                position += 2
                literal.append("${")
            else:
                literal.append(character)
        elif character in "'\"":
            quoted_by, opened_at, in_word = character, position, True
        elif character in _WHITESPACE:
            end_word()
            in_word = False
        elif character == "\\":
            if position + 1 == len(text):
                problem = problem or "The text ends in a backslash, which has nothing to escape."
            else:
                position += 1
                literal.append(text[position])
            in_word = True
        else:
            literal.append(character)
            in_word = True
        position += 1
    if quoted_by:
        problem = problem or f"The quote {quoted_by} at character {opened_at + 1} is not closed."
    end_word()
    return tuple(words), problem


def split_words(text: str) -> list[str]:
    """Split a text into words like :meth:`CommandTemplate.parse`, without placeholders: ``${`` is just text.

    For ``command``, in which nothing is substituted.

    :raises ValueError: a quote is not closed or the text ends in a backslash; the message is a sentence.
    """
    try:
        return shlex.split(text, comments=False, posix=True)
    except ValueError as error:
        raise ValueError(f"The text {quote(text)} can't be split into words: {error}.") from None
