# SPDX-License-Identifier: Apache-2.0
"""Templates of a parameter study: ``${x}`` and ``${x?string("0.00##")}`` filled with one case's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

_PLACE = re.compile(r"\$\{\s*(?P<name>[^\s{}?]+?)\s*(?:\?string\(\s*\"(?P<format>[^\"]*)\"\s*\)\s*)?\}")
_FORMAT = re.compile(
    r"(?P<before>[^0#,.%]*)(?P<whole>[#,]*[0,]*)(?:\.(?P<least>0*)(?P<most>#*))?"
    r"(?:E(?P<exponent>0+))?(?P<percent>%?)(?P<after>[^0#,.%]*)"
)


class TemplateError(ValueError):
    """A template names a variable that the study lacks, or formats what is not a number."""


def render(text: str, values: Mapping[str, str]) -> str:
    """Return a template's text with its places filled.

    :param values: a value's text for each variable of the case, put in as it is where no format is given.
    :raises TemplateError: for the first place that can't be filled, naming its line.
    """

    def filled(match: re.Match[str]) -> str:
        name, pattern = match["name"], match["format"]
        line = text.count("\n", 0, match.start()) + 1
        if name not in values:
            known = ", ".join(values) or "none"
            raise TemplateError(f"line {line}: there is no variable {name!r}; there are: {known}.")
        if pattern is None:
            return values[name]
        try:
            return formatted(values[name], pattern)
        except ValueError as error:
            raise TemplateError(f"line {line}: {error}") from error

    return _PLACE.sub(filled, text)


def formatted(value: str, pattern: str) -> str:
    """Return a number in a decimal format as Java's ``DecimalFormat`` writes it.

    ``0`` is a digit, ``#`` a digit that is left out where it is an empty zero, ``,`` groups thousands,
    ``E0`` writes an exponent, ``%`` multiplies by 100. Halves are rounded to even.

    :raises ValueError: when the value is not a number or the pattern can't be read.
    """
    match = _FORMAT.fullmatch(pattern)
    if match is None or not (match["whole"] or match["least"] or match["most"]):
        raise ValueError(f'{pattern!r} is not a format such as "0.00##".')
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number, so it can't be written as {pattern!r}.") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} can't be written as {pattern!r}.")
    least, most = len(match["least"] or ""), len(match["most"] or "")
    digits_before = match["whole"].count("0")
    if match["most"] and not digits_before and not least:
        digits_before = 1  # #.## is written as 0.##
    tail = ""
    if match["exponent"]:
        power = number.adjusted() - max(digits_before - 1, 0) if number else 0
        number = number.scaleb(-power)
        tail = f"E{'-' if power < 0 else ''}{abs(power):0{len(match['exponent'])}d}"
    elif match["percent"]:
        number, tail = number * 100, "%"
    rounded = number.quantize(Decimal(1).scaleb(-least - most), rounding=ROUND_HALF_EVEN)
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    fraction = fraction[:least] + fraction[least:].rstrip("0")
    whole = whole.lstrip("0").rjust(digits_before, "0")
    if "," in match["whole"]:
        whole = _grouped(whole, len(match["whole"]) - match["whole"].rindex(",") - 1)
    sign = "-" if rounded < 0 else ""
    body = f"{whole}.{fraction}" if fraction else whole or "0"
    return f"{sign}{match['before']}{body}{tail}{match['after']}"


def _grouped(digits: str, size: int) -> str:
    if size < 1:
        return digits
    first = len(digits) % size
    groups = [digits[at : at + size] for at in range(first, len(digits), size)]
    return ",".join([digits[:first], *groups] if first else groups)
