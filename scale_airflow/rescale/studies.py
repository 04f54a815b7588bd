# SPDX-License-Identifier: Apache-2.0
"""Parameter studies (DOE): the part of a job's body that makes one run a case.

``{**body, **study([Variable("speed", fixed_range(10, 50, 10))])}`` gives five runs, in whose template files
``${speed}`` is replaced; ``cases_csv`` makes the file of a ``paramFile`` in place of variables.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

from scale_airflow.errors import Fault, InvalidDocument

Number = int | float | Decimal
# What a template can name: ${x}, ${x?string("0.00")}.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class VariableType(str, Enum):
    """What a variable is to a study."""

    PARAM = "Param"
    DESIGN = "Design"
    OUTPUT = "Output"
    CASE = "Case"
    CONSTRAINT = "Constraint"
    OBJECTIVE = "Objective"


@dataclass(frozen=True)
class Generator:
    """Where a variable's values come from.

    :param type: ``FixedRange``, ``Linspace``, ``Normal``, ``Uniform``, ``Triangular`` or ``LogNormal``.
    :param settings: as Rescale names them. Only those of ``FixedRange`` are documented.
    """

    type: str
    settings: Mapping[str, Number] = field(default_factory=dict)


def fixed_range(least: Number, most: Number, increment: Number) -> Generator:
    """Give the values from the least to the most, at equal distances."""
    return Generator("FixedRange", {"minvalue": least, "maxvalue": most, "increment": increment})


@dataclass(frozen=True)
class Variable:
    """A variable of a study.

    :param name: as ``${name}`` in the template files.
    :param generator: None for what comes from a file, or out of the job.
    """

    name: str
    generator: Generator | None = None
    type: VariableType = VariableType.PARAM

    def document(self) -> dict[str, Any]:
        """Return the form of ``jobvariables``."""
        row: dict[str, Any] = {"name": self.name, "variableType": self.type.value}
        if self.generator is not None:
            row["valueGeneratorType"] = self.generator.type
            row["valueGeneratorSettings"] = {
                key: float(value) if isinstance(value, Decimal) else value
                for key, value in self.generator.settings.items()
            }
        return row


def study(variables: Sequence[Variable], *, monte_carlo_iterations: int | None = None) -> dict[str, Any]:
    """Return the fields of a job's body that make it a study.

    :param monte_carlo_iterations: how many times random variables are drawn.
    :raises InvalidDocument: with every fault: names that no template can name, or twice; empty ranges.
    """
    faults: list[Fault] = []
    names = [variable.name for variable in variables]
    for index, variable in enumerate(variables):
        _check(variable, f"/jobvariables/{index}", names, faults)
    if monte_carlo_iterations is not None and monte_carlo_iterations < 1:
        faults.append(_fault("/monteCarloIterations", "must be 1 or more"))
    if faults:
        raise InvalidDocument("study", faults)
    body: dict[str, Any] = {"jobvariables": [variable.document() for variable in variables]}
    if monte_carlo_iterations is not None:
        body["monteCarloIterations"] = monte_carlo_iterations
    return body


def template_task(file_id: str, processed_filename: str) -> dict[str, Any]:
    """Return an entry of ``templateTasks``: an uploaded template, and what it becomes in each run."""
    return {"processedFilename": processed_filename, "templateFile": {"id": file_id}}


def cases_csv(cases: Sequence[Mapping[str, object]]) -> str:
    """Return the text of a ``paramFile``: a line of names, then one line a run.

    :raises InvalidDocument: with every fault: no case, or cases that don't have the same names.
    """
    names = list(cases[0]) if cases else []
    faults = [] if names else [_fault("", "there must be at least one case with a variable")]
    faults += [
        _fault("/0", f"{name!r} can't be the name of a variable") for name in names if not _named(name)
    ]
    faults += [
        _fault(f"/{index}", f"must have the variables {', '.join(names)}")
        for index, case in enumerate(cases)
        if set(case) != set(names)
    ]
    if faults:
        raise InvalidDocument("study", faults)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    rows.writerows([case[name] for name in names] for case in cases)
    return text.getvalue()


def _check(variable: Variable, path: str, names: Sequence[str], faults: list[Fault]) -> None:
    if not _named(variable.name):
        faults.append(_fault(f"{path}/name", "must begin with a letter, then letters, digits, '_', '.', '-'"))
    elif names.count(variable.name) > 1:
        faults.append(_fault(f"{path}/name", f"{variable.name!r} is there twice"))
    generator = variable.generator
    if generator is None:
        return
    if generator.type == "FixedRange":
        least, most, increment = (
            generator.settings.get(key) for key in ("minvalue", "maxvalue", "increment")
        )
        if least is None or most is None or increment is None or not (increment > 0 and least <= most):
            wanted = "needs minvalue, maxvalue not below it, and an increment above 0"
            faults.append(_fault(f"{path}/valueGeneratorSettings", wanted))
    elif generator.type not in ("Linspace", "Normal", "Uniform", "Triangular", "LogNormal"):
        wanted = "must be FixedRange, Linspace, Normal, Uniform, Triangular or LogNormal"
        faults.append(_fault(f"{path}/valueGeneratorType", wanted))


def _named(name: str) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _fault(path: str, message: str) -> Fault:
    return Fault(path, message, "rescale.study")
