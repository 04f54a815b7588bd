# SPDX-License-Identifier: Apache-2.0
"""Valid documents (the specification's own examples among them), their parsers, and ways to spoil them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from scale_airflow.definitions.configuration_export import ConfigurationExport
from scale_airflow.definitions.error_document import ErrorDocument
from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_results import JobResults
from scale_airflow.definitions.job_type_configuration import JobTypeConfiguration
from scale_airflow.definitions.job_type_document import JobTypeDocument
from scale_airflow.definitions.recipe_data import RecipeData
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.definitions.recipe_type_document import RecipeTypeDocument
from scale_airflow.definitions.results_manifest import ResultsManifest
from scale_airflow.definitions.setup_document import SetupDocument
from scale_airflow.definitions.strike_configuration import StrikeConfiguration
from scale_airflow.definitions.strike_document import StrikeDocument
from scale_airflow.definitions.trigger_rules import ClockRule, IngestRule, ParseRule
from scale_airflow.definitions.workspace_configuration import WorkspaceConfiguration
from scale_airflow.definitions.workspace_document import WorkspaceDocument

PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "clock-trigger-rule": ClockRule.parse,
    "configuration": ConfigurationExport.parse,
    "error": ErrorDocument.parse,
    "error-mapping": ErrorMapping.parse,
    "ingest-trigger-rule": IngestRule.parse,
    "job-data": JobData.parse,
    "job-interface": JobInterface.parse,
    "job-results": JobResults.parse,
    "job-type": JobTypeDocument.parse,
    "job-type-configuration": JobTypeConfiguration.parse,
    "parse-trigger-rule": ParseRule.parse,
    "recipe-data": RecipeData.parse,
    "recipe-definition": RecipeDefinition.parse,
    "recipe-type": RecipeTypeDocument.parse,
    "results-manifest": ResultsManifest.parse,
    "setup": SetupDocument.parse,
    "strike": StrikeDocument.parse,
    "strike-configuration": StrikeConfiguration.parse,
    "workspace": WorkspaceDocument.parse,
    "workspace-configuration": WorkspaceConfiguration.parse,
}

EXAMPLES = sorted(path.stem for path in (Path(__file__).parent / "examples").glob("*.json"))


def kind_of(example: str) -> str:
    """Return the kind of an example, the part of its file name before the dot."""
    return example.partition(".")[0]


def load(example: str) -> Any:
    """Return a fresh copy of an example."""
    return json.loads((Path(__file__).parent / "examples" / f"{example}.json").read_text())


# Everything that a Python caller could hand over, hostile texts and numbers among it.
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "file", "files", "property", "1.0", "a/b", "../x", "/abs", "${x}", "${", "'", "\0", "\ud800"]
    ),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


@st.composite
def spoiled(draw: st.DrawFn, document: Any, inserted: st.SearchStrategy[Any] = values) -> Any:
    """Draw a document with one to three changes: something replaced, removed, added or doubled."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        containers = list(_containers(changed))
        if not containers:
            return changed
        container = draw(st.sampled_from(containers))
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        change = draw(st.sampled_from(["replace", "remove", "add", "double"]))
        if change == "add" or not keys:
            if isinstance(container, dict):
                container[draw(texts)] = draw(inserted)
            else:
                container.append(draw(inserted))
            continue
        key = draw(st.sampled_from(keys))
        if change == "replace":
            container[key] = draw(inserted)
        elif change == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[f"{key} "] = copy.deepcopy(container[key])
    return changed
