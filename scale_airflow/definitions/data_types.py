# SPDX-License-Identifier: Apache-2.0
"""Data types: the tags of files, as the schemas of results manifests and Strike configurations allow them."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from scale_airflow.definitions.documents import schema
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.schema_check import Check, compile_schema
from scale_airflow.errors import Fault


def check_data_types(tags: Iterable[str]) -> list[Fault]:
    """Return a fault for each tag that a file may not have; its path is that in the list, e.g. ``/0``."""
    faults = Faults()
    _check()(list(tags), faults)
    return faults.found


@functools.cache
def _check() -> Check:
    parse_result = schema("results-manifest-1.1")["$defs"]["parse_result"]
    return compile_schema(parse_result["properties"]["data_types"])
