# SPDX-License-Identifier: Apache-2.0
"""Media types by file names."""

from __future__ import annotations

import pytest

from scale_airflow.definitions.media_types import guess


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.json", "application/json"),
        ("a.geojson", "application/vnd.geo+json"),
        ("a.h5", "image/x-hdf5-image"),
        ("a.ntf", "image/x-nitf-image"),
        ("a.xml", "application/xml"),
        ("a.png", "image/png"),
        ("A.PNG", "image/png"),
        ("a.tif", "image/tiff"),
        ("a.csv", "text/csv"),
        ("a.txt", "text/plain"),
        ("a.zip", "application/zip"),
        ("a.b.zip", "application/zip"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        (".png", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("data:text/html,x.png", "image/png"),
        ("http://host/a.csv?b", "application/octet-stream"),
        ("folder/a.csv", "text/csv"),
    ],
)
def test_guesses(name: str, expected: str) -> None:
    assert guess(name) == expected
