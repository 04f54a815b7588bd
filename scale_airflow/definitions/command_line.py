# SPDX-License-Identifier: Apache-2.0
"""Turn ``command_arguments`` and the inputs' values into an argument list, without any shell.

The text is split into words first, like a POSIX shell splits (quotes and backslashes, but no comments,
expansions or operators), and only then are ``${NAME}`` and ``${FLAG:NAME}`` replaced. So a value always stays
inside its one argument, byte for byte, whatever characters it has. What stands between ``${`` and ``}`` is
never split.
"""

from __future__ import annotations

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
        splitter = _Splitter(text)
        splitter.split()
        if splitter.problem is not None:
            faults.add(place, "command-line.not-closed", splitter.problem)
        return cls(text, tuple(splitter.words))

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


class _Splitter:
    """Splits one text into words; ``problem`` is a sentence about the first thing that is not closed."""

    def __init__(self, text: str):
        self.text = text
        self.words: list[Word] = []
        self.problem: str | None = None
        self._parts: list[str | Placeholder] = []
        self._literal: list[str] = []
        self._in_word = False

    def split(self) -> None:
        """Fill ``words``."""
        position = 0
        while position < len(self.text):
            character = self.text[position]
            if self.text.startswith("${", position):
                position = self._placeholder(position)
            elif character in "'\"":
                position = self._quoted(position)
            elif character == "\\":
                position = self._escaped(position)
            elif character in _WHITESPACE:
                self._end_word()
                position += 1
            else:
                position = self._keep(character, position + 1)
        self._end_word()

    def _keep(self, text: str, following: int) -> int:
        """Take literal text; return where to go on."""
        self._literal.append(text)
        self._in_word = True
        return following

    def _placeholder(self, start: int) -> int:
        end = self.text.find("}", start) + 1
        if not end:
            self._complain(f'The "${{" at character {start + 1} is not closed by a "}}".')
            return self._keep(self.text[start:], len(self.text))
        # Names have no colon, so the last one ends the flag.
        flag, _, name = self.text[start + 2 : end - 1].rpartition(":")
        self._end_literal()
        self._parts.append(Placeholder(name, flag, start, end))
        self._in_word = True
        return end

    def _quoted(self, start: int) -> int:
        """Take what stands in quotes: placeholders count in both kinds, escapes only in double quotes."""
        quote_sign, position = self.text[start], start + 1
        self._in_word = True
        while position < len(self.text):
            character = self.text[position]
            if character == quote_sign:
                return position + 1
            if self.text.startswith("${", position):
                position = self._placeholder(position)
            elif quote_sign == '"' and self.text.startswith(('\\"', "\\\\"), position):
                position = self._keep(self.text[position + 1], position + 2)
            elif quote_sign == '"' and self.text.startswith("\\${", position):
                position = self._keep("${", position + 3)
            else:
                position = self._keep(character, position + 1)
        self._complain(f"The quote {quote_sign} at character {start + 1} is not closed.")
        return position

    def _escaped(self, start: int) -> int:
        if start + 1 == len(self.text):
            self._complain("The text ends in a backslash, which has nothing to escape.")
        return self._keep(self.text[start + 1 : start + 2], start + 2)

    def _complain(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _end_literal(self) -> None:
        if self._literal:
            self._parts.append("".join(self._literal))
            self._literal.clear()

    def _end_word(self) -> None:
        self._end_literal()
        if self._in_word:
            self.words.append(tuple(self._parts))
        self._parts.clear()
        self._in_word = False


def split_words(text: str) -> list[str]:
    """Split a text into words like :meth:`CommandTemplate.parse`, without placeholders: ``${`` is just text.

    For ``command``, in which nothing is substituted.

    :raises ValueError: a quote is not closed or the text ends in a backslash; the message is a sentence.
    """
    try:
        return shlex.split(text, comments=False, posix=True)
    except ValueError as error:
        raise ValueError(f"The text {quote(text)} can't be split into words: {error}.") from None
