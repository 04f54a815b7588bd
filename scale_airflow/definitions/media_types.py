# SPDX-License-Identifier: Apache-2.0
"""Media types of files, guessed from their names."""

from __future__ import annotations

import mimetypes

UNKNOWN = "application/octet-stream"
"""The media type of a file about which nothing is known; an input that lists it accepts every file."""

# A table of our own: the machine's mime.types files would give every worker other answers.
_TYPES = mimetypes.MimeTypes()
for _extension, _media_type in (
    (".json", "application/json"),
    (".geojson", "application/vnd.geo+json"),
    (".h5", "image/x-hdf5-image"),
    (".ntf", "image/x-nitf-image"),
    (".xml", "application/xml"),
):
    _TYPES.add_type(_media_type, _extension)


def guess(file_name: str) -> str:
    """Return the media type that a file's extension stands for, ``application/octet-stream`` if none."""
    # The slash keeps a name such as "data:x.png" from being read as a URL.
    found, _ = _TYPES.guess_type("/" + file_name, strict=False)
    return found or UNKNOWN
