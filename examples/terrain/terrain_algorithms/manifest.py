# SPDX-License-Identifier: Apache-2.0
"""Writing ``results_manifest.json``: the list of what a program made (Results Manifest 1.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_manifest(
    folder: Path,
    outputs: dict[str, Path],
    geo_metadata: dict[str, Any],
    parsed: dict[str, Any] | None = None,
) -> None:
    """Register each output's file, with the time range and footprint that all of them share.

    Args:
        folder: the output folder that the program was given.
        outputs: the interface's output names and the files that belong to them.
        geo_metadata: ``data_started``, ``data_ended`` and ``geo_json`` of the files.
        parsed: an entry for ``parse_results``, where the program learnt something about its input file.
    """
    manifest: dict[str, Any] = {
        "version": "1.1",
        "output_data": [
            {"name": name, "file": {"path": str(path), "geo_metadata": geo_metadata}}
            for name, path in outputs.items()
        ],
    }
    if parsed is not None:
        manifest["parse_results"] = [parsed]
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / "results_manifest.json").write_text(text, encoding="utf-8")
