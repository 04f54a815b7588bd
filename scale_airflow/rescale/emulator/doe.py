# SPDX-License-Identifier: Apache-2.0
"""Parameter studies: the cases of a job, from a CSV file or from typed variables; one run for each."""

from __future__ import annotations

import csv
import io
import itertools
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

# More would be a mistake of the author's, and as many processes here.
MOST_CASES = 10_000
_INPUT_TYPES = ("Param", "Design", "Case")
_SPREAD = ("FixedRange", "Linspace")
_RANDOM = ("Normal", "Uniform", "Triangular", "LogNormal")


class StudyError(ValueError):
    """A study whose variables or CSV file can't be read."""


def cases(document: Mapping[str, Any], param_file: str | None = None) -> list[dict[str, str]]:
    """Return the values of each case: variable name → text; one empty case for a job that is no study.

    :param document: the job; its ``jobvariables``, ``monteCarloIterations`` and ``includeNominalRun`` count.
    :param param_file: content of the job's CSV file, whose rows win over generated values.
    :raises StudyError: naming the row or variable that is wrong.
    """
    if param_file is not None:
        return _rows(param_file)
    variables = [
        one
        for one in document.get("jobvariables") or ()
        if (one.get("variableType") or "Param") in _INPUT_TYPES
    ]
    if not variables:
        return [{}]
    found = _combined(variables, int(document.get("monteCarloIterations") or 1), str(document.get("id")))
    if document.get("includeNominalRun"):
        found.insert(0, {str(one["name"]): _nominal(one) for one in variables})
    return found


def described(case: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a case as ``variables`` of its run."""
    return [
        {"name": name, "value": _number(value), "displayValue": value, "isRelative": False}
        for name, value in case.items()
    ]


def _rows(text: str) -> list[dict[str, str]]:
    rows = [
        row for row in csv.reader(io.StringIO(text.lstrip("\ufeff"))) if any(cell.strip() for cell in row)
    ]
    if len(rows) < 2:
        raise StudyError("The parameter file needs a line of variable names and one line for each run.")
    names = [cell.strip() for cell in rows[0]]
    if not all(names) or len(set(names)) < len(names):
        raise StudyError("The first line of the parameter file must name each variable once.")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise StudyError(
                f"Line {number} of the parameter file has {len(row)} values for {len(names)} names."
            )
    if len(rows) - 1 > MOST_CASES:
        raise StudyError(f"The parameter file has {len(rows) - 1} runs; at most {MOST_CASES} are possible.")
    return [dict(zip(names, (cell.strip() for cell in row), strict=True)) for row in rows[1:]]


def _combined(variables: list[dict[str, Any]], iterations: int, seed: str) -> list[dict[str, str]]:
    """Combine every value of the spread variables with each other, and draw the random ones for each."""
    spread = {str(one["name"]): list(_spread(one)) for one in variables if _kind(one) in _SPREAD}
    drawn = [one for one in variables if _kind(one) in _RANDOM]
    count = iterations if drawn else 1
    for values in spread.values():
        count *= len(values)
    if count > MOST_CASES:
        raise StudyError(f"The variables make {count} runs; at most {MOST_CASES} are possible.")
    chance = random.Random(seed)  # noqa: S311 - the same job draws the same values
    order = [str(one["name"]) for one in variables]
    found = []
    for chosen in itertools.product(*spread.values()):
        for _ in range(iterations if drawn else 1):
            case = dict(zip(spread, chosen, strict=True))
            case |= {str(one["name"]): _drawn(one, chance) for one in drawn}
            found.append({name: case[name] for name in order})
    return found


def _kind(variable: Mapping[str, Any]) -> str:
    kind = str(variable.get("valueGeneratorType"))
    if kind not in (*_SPREAD, *_RANDOM):
        raise StudyError(
            f"Variable {variable.get('name')!r}: there is no value generator {kind!r}; "
            f"there are {', '.join((*_SPREAD, *_RANDOM))}."
        )
    return kind


def _setting(variable: Mapping[str, Any], *names: str, default: str | None = None) -> Decimal:
    """Return a setting by the first of its names, in any spelling (``minvalue``, ``minValue``)."""
    settings = variable.get("valueGeneratorSettings") or {}
    spelled = {str(name).lower(): value for name, value in settings.items()}
    for name in names:
        if name in spelled:
            try:
                return Decimal(str(spelled[name]))
            except InvalidOperation:
                raise StudyError(
                    f"Variable {variable.get('name')!r}: setting {name!r} must be a number."
                ) from None
    if default is not None:
        return Decimal(default)
    raise StudyError(f"Variable {variable.get('name')!r} needs the setting {names[0]!r}.")


def _spread(variable: Mapping[str, Any]) -> Iterator[str]:
    least = _setting(variable, "minvalue", "min", "start")
    most = _setting(variable, "maxvalue", "max", "end", "stop")
    if _kind(variable) == "FixedRange":
        step = _setting(variable, "increment", "step")
        if step <= 0 or most < least:
            raise StudyError(f"Variable {variable.get('name')!r} needs an increment above 0 and max >= min.")
        count = int((most - least) / step) + 1
    else:
        count = int(_setting(variable, "count", "numvalues", "numberofvalues", "n", "steps"))
        if count < 1:
            raise StudyError(f"Variable {variable.get('name')!r} needs a count of at least 1.")
        step = (most - least) / (count - 1) if count > 1 else Decimal(0)
    if count > MOST_CASES:
        raise StudyError(f"Variable {variable.get('name')!r} has {count} values; {MOST_CASES} are possible.")
    for number in range(count):
        yield _text(least + step * number)


def _drawn(variable: Mapping[str, Any], chance: random.Random) -> str:
    kind = _kind(variable)
    if kind in ("Normal", "LogNormal"):
        mean = float(_setting(variable, "mean", "mu"))
        deviation = float(_setting(variable, "standarddeviation", "stddev", "stdev", "sigma"))
        draw = chance.gauss if kind == "Normal" else chance.lognormvariate
        return repr(draw(mean, deviation))
    least = float(_setting(variable, "minvalue", "min"))
    most = float(_setting(variable, "maxvalue", "max"))
    if kind == "Uniform":
        return repr(chance.uniform(least, most))
    return repr(chance.triangular(least, most, float(_setting(variable, "mode"))))


def _nominal(variable: Mapping[str, Any]) -> str:
    """Return the value in the middle: the mean, the mode, or half way between the ends."""
    kind = _kind(variable)
    if kind in ("Normal", "LogNormal"):
        return _text(_setting(variable, "mean", "mu"))
    middle = (
        _setting(variable, "minvalue", "min", "start") + _setting(variable, "maxvalue", "max", "stop")
    ) / 2
    if kind == "Triangular":
        return _text(_setting(variable, "mode", default=str(middle)))
    return _text(middle)


def _text(value: Decimal) -> str:
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _number(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
