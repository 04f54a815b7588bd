# SPDX-License-Identifier: Apache-2.0
"""Definitions that the tests of the compiler share."""

from __future__ import annotations

import copy
from typing import Any

import pytest

RECIPE: dict[str, Any] = {
    "version": "1.0",
    "input_data": [
        {"name": "image", "type": "file", "media_types": ["image/png"]},
        {"name": "more images", "type": "files", "required": False},
        {"name": "level", "type": "property", "required": False},
    ],
    "jobs": [
        {
            "name": "make geotiff",
            "job_type": {"name": "geotiff-maker", "version": "1.2.3"},
            "recipe_inputs": [{"recipe_input": "image", "job_input": "image"}],
        },
        {
            "name": "detect_points",
            "job_type": {"name": "point-detector", "version": "4.5.6"},
            "dependencies": [
                {"name": "make geotiff", "connections": [{"output": "geo_image", "input": "image"}]},
            ],
        },
        {
            "name": "statistics",
            "job_type": {"name": "point-detector", "version": "4.5.6"},
            "dependencies": [{"name": "make geotiff"}, {"name": "detect_points"}],
        },
    ],
}

INTERFACE: dict[str, Any] = {
    "version": "1.0",
    "command": "python make_geotiff.py",
    "command_arguments": "${image} ${job_output_dir}",
    "input_data": [{"name": "image", "type": "file", "media_types": ["image/png"]}],
    "output_data": [{"name": "geo_image", "type": "file", "media_type": "image/tiff"}],
}


@pytest.fixture
def recipe() -> dict[str, Any]:
    """A recipe definition of three jobs, two of one type, with a name that Airflow does not take."""
    return copy.deepcopy(RECIPE)


@pytest.fixture
def interface() -> dict[str, Any]:
    """A job interface of one input and one output."""
    return copy.deepcopy(INTERFACE)
