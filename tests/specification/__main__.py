# SPDX-License-Identifier: Apache-2.0
"""Write what the specification's text says into ``integration/api/conformance/*.json``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from specification import KEPT, TEXT, written

    if not TEXT.is_file():
        sys.exit(f"The specification's text is not at {TEXT}.")
    KEPT.mkdir(exist_ok=True)
    for old in KEPT.glob("*.json"):
        old.unlink()
    for name, content in written().items():
        (KEPT / f"{name}.json").write_text(content, "utf-8")
        print(KEPT / f"{name}.json")
