# SPDX-License-Identifier: Apache-2.0
"""The page about files to and from Rescale tells the names and numbers that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from scale_airflow.rescale import transfers
from scale_airflow.rescale.transfers import (
    adaptation,
    download,
    names,
    pieces,
    progress,
    small,
    upload,
    volumes,
)

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "rescale-transfers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*transfers.__all__, "CorruptTransfer", "UnsafeName"])
def test_it_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE or f"{name}(" in PAGE or f"`{name}." in PAGE


def test_the_numbers() -> None:
    assert f"Downloader(credentials, connections={download.CONNECTIONS})" in PAGE
    assert f"Uploader(credentials, connections={upload.CONNECTIONS})" in PAGE
    assert f"at first {adaptation.START} at most" in PAGE
    assert f"`{names.PARTS_FOLDER}`" in PAGE
    assert small.SMALL == pieces.MIB
    assert pieces.BLOCK == pieces.MIB // 4
    assert volumes._VOLUME == 8 * pieces.MIB
    assert (progress.INTERVAL, progress.IDLE) == (0.1, 1.0)
