# SPDX-License-Identifier: Apache-2.0
"""Runs the cells of a notebook one after the other, as a notebook's kernel does, in one namespace.

Arguments: a JSON file with a list of ``{"number", "source", "raises", "then"}``. What a cell prints comes
between lines ``=== cell N`` and the next such line. ``raises`` is the text of an exception that the cell is
known to end with; ``then`` is code that runs after the cell.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        cells = json.load(file)
    namespace: dict[str, Any] = {
        "__name__": "__main__",
        "_shell": lambda command: subprocess.run(command, shell=True, check=True),
    }
    for cell in cells:
        print(f"=== cell {cell['number']}", flush=True)
        code = compile(cell["source"], f"cell {cell['number']}", "exec")
        try:
            exec(code, namespace)
        except Exception as error:
            if not cell["raises"] or cell["raises"] not in str(error):
                raise
        else:
            if cell["raises"]:
                print(f"Cell {cell['number']} did not raise {cell['raises']!r}.", file=sys.stderr)
                return 1
        exec(cell["then"], namespace)
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
