# SPDX-License-Identifier: Apache-2.0
"""What a row of the table of rules is, and how its document is read where it refers to other things.

Where these readers need them there are the files 1 (a PNG) and 2 (a CSV), the workspaces 1 ``raw`` and
2 ``old`` (not active), the error ``unknown``, and the job type ``make`` 1.0 of :data:`MAKE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.definitions.faults import Faults
from scale_airflow.definitions.input_data import FileFacts, WorkspaceFacts
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import InterfaceInput, JobInterface
from scale_airflow.definitions.recipe_data import RecipeData
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.definitions.results_manifest import ResultsManifest
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.definitions.trigger_rules import ClockRule, IngestRule

Reader = Callable[[Any], object]


@dataclass(frozen=True)
class Rule:
    """One rule, and a document that breaks it and no other.

    :param id: what :attr:`scale_airflow.errors.Fault.rule` says.
    :param document: the document that has to obey, for people.
    :param sentence: the rule.
    :param where: where it is written: a section of Scale's documentation, or "this project".
    :param breaks: a minimal document (for ``read``) that breaks the rule.
    :param at: the pointer of the fault.
    :param read: the function that finds the fault.
    :param shown: the breaking document as the page shows it, where it is too long or no JSON.
    """

    id: str
    document: str
    sentence: str
    where: str
    breaks: Any
    at: str
    read: Reader
    shown: str | None = None


FILES = {1: FileFacts(1, "scene.png", "image/png", 10), 2: FileFacts(2, "scene.csv", "text/csv", 10)}
WORKSPACES = {1: WorkspaceFacts(1, "raw", True), 2: WorkspaceFacts(2, "old", False)}
BY_NAME = {workspace.name: workspace for workspace in WORKSPACES.values()}

MAKE = JobInterface.parse(
    {
        "command": "make_geotiff",
        "command_arguments": "${image} ${job_output_dir}",
        "input_data": [{"name": "image", "type": "file", "media_types": ["image/png"]}],
        "output_data": [
            {"name": "geo_image", "type": "file"},
            {"name": "tiles", "type": "files", "required": False},
        ],
    }
)
IMAGE = MAKE.inputs[0]
TILES = InterfaceInput("tiles", "files", required=False)
DAYS = InterfaceInput("days", "property")


def job_data(document: Any) -> object:
    """Read data for a job of the type ``make``."""
    return JobData.parse(document).check(MAKE, FILES, WORKSPACES)


def tiles_data(document: Any) -> object:
    """Read data for a job with one required input, the files ``tiles``."""
    interface = {"command": "a", "command_arguments": "", "input_data": [{"name": "tiles", "type": "files"}]}
    return JobData.parse(document).check(JobInterface.parse(interface), FILES, WORKSPACES)


def recipe_data(document: Any) -> object:
    """Read data for a recipe without inputs whose jobs produce files."""
    definition = RecipeDefinition.parse({"jobs": []})
    return RecipeData.parse(document).check(definition, FILES, WORKSPACES, needs_workspace=True)


def recipe(document: Any) -> object:
    """Read a recipe definition where the job type ``make`` exists."""
    return RecipeDefinition.parse(document).check({("make", "1.0"): MAKE})


def manifest(document: Any) -> object:
    """Read the results manifest of a job of the type ``make``."""
    return ResultsManifest.parse(document).check(MAKE)


def error_mapping(document: Any) -> object:
    """Read an error mapping where only the error ``unknown`` exists."""
    faults = Faults()
    faults.extend(ErrorMapping.parse(document).check_names(["unknown"]))
    faults.refuse("error-mapping", document)
    return None


def strike(document: Any) -> object:
    """Read a Strike configuration where the workspaces exist."""
    StrikeConfiguration.parse(document).check(BY_NAME)
    return None


def ingest_rule_for(*inputs: InterfaceInput) -> Reader:
    """Return a reader of ingest rules for a type with these inputs."""
    return lambda document: IngestRule.parse(document).check(inputs, BY_NAME)


def clock_rule_for(*inputs: InterfaceInput, has_outputs: bool = False) -> Reader:
    """Return a reader of clock rules for a type with these inputs."""
    return lambda document: ClockRule.parse(document).check(inputs, BY_NAME, has_outputs=has_outputs)
