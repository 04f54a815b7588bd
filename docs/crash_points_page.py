# SPDX-License-Identifier: Apache-2.0
"""The page of the crash points, read off the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "scale_airflow"
_COMMIT = (".commit.before", ".commit.after")


@dataclass(frozen=True, order=True)
class CrashPoint:
    """One point: its name, the module that reaches it, and what the function there does."""

    name: str
    module: str
    function: str
    purpose: str


def crash_points() -> list[CrashPoint]:
    """Return every crash point of the package, sorted by name.

    A call of ``crash_points.reach`` is one, and a ``point=`` names the two of a transaction.

    :raises ValueError: if a name is no literal.
    """
    found: list[CrashPoint] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if module != "crash_points":
            found += _of_module(module, ast.parse(path.read_text(encoding="utf-8")))
    return sorted(found)


def _of_module(module: str, tree: ast.Module) -> Iterator[CrashPoint]:
    for function, call in _calls(tree, "", ""):
        for name in _names(call, module):
            yield CrashPoint(name, module, *function)


def _calls(node: ast.AST, function: str, purpose: str) -> Iterator[tuple[tuple[str, str], ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _calls(child, f"{child.name}.", purpose)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            sentence = (ast.get_docstring(child) or "").partition("\n\n")[0].replace("\n", " ")
            yield from _calls(child, f"{function}{child.name}", sentence)
        else:
            if isinstance(child, ast.Call):
                yield (function, purpose), child
            yield from _calls(child, function, purpose)


def _names(call: ast.Call, module: str) -> Iterator[str]:
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "crash_points.reach":
        (argument,) = call.args
        # Those of a transaction, whose name is where it is opened.
        if not isinstance(argument, ast.JoinedStr):
            yield _literal(argument, module)
    for keyword in call.keywords:
        # Handed on by a function that was told.
        if keyword.arg == "point" and not isinstance(keyword.value, ast.Name):
            yield from (_literal(keyword.value, module) + end for end in _COMMIT)


def _literal(node: ast.expr, module: str) -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise ValueError(f"{module}, line {node.lineno}: the name of a crash point must be a literal")
    return node.value


def page(generated: str) -> str:
    """Return the page's text.

    :param generated: the note that it is generated.
    """
    points = crash_points()
    rows = [f"| `{each.name}` | `{each.module}` | {_shown(each)} |" for each in points]
    return "\n".join(
        [
            "# Crash points",
            "",
            generated,
            f"{len(points)} places at which the [crash matrix](../how-to/test.md#the-crash-matrix) has a "
            "process killed with SIGKILL: before and after each transaction that writes, and each operation "
            "on files, containers and processes. Outside of that test nothing happens at them.",
            "",
            "| point | module of `scale_airflow` | in |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _shown(point: CrashPoint) -> str:
    purpose = point.purpose.replace("|", "\\|")
    return f"`{point.function}`: {purpose}" if purpose else f"`{point.function}`"
