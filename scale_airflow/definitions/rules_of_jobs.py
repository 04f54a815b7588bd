# SPDX-License-Identifier: Apache-2.0
"""Rules for job interfaces, error mappings, job and recipe data, and results manifests."""

from __future__ import annotations

from typing import Any

from scale_airflow.definitions.command_line import CommandTemplate
from scale_airflow.definitions.error_mapping import ErrorMapping
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.results_manifest import ResultsManifest
from scale_airflow.definitions.rule_readers import (
    Rule,
    error_mapping,
    job_data,
    manifest,
    recipe_data,
    tiles_data,
)

_IMAGE = {"name": "image", "type": "file"}
_OUTPUTS = [{"name": "geo_image", "workspace_id": 1}, {"name": "tiles", "workspace_id": 1}]


def _interface(**fields: Any) -> dict[str, Any]:
    return {"command": "a", "command_arguments": "", **fields}


def _data(*inputs: dict[str, Any], outputs: Any = _OUTPUTS) -> dict[str, Any]:
    return {"input_data": list(inputs), "output_data": outputs}


RULES = (
    Rule(
        "command-line.not-closed",
        "job interface",
        "Quotes and `${` are closed, and no backslash stands at the end.",
        "Job Interface, command_arguments; this project: split like a shell splits",
        "--title 'a b",
        "",
        CommandTemplate.parse,
    ),
    Rule(
        "job-interface.unknown-input",
        "job interface",
        "The command line uses only names of inputs, and `job_output_dir`.",
        "Job Interface, command_arguments",
        _interface(command_arguments="${imag}", input_data=[_IMAGE]),
        "/command_arguments",
        JobInterface.parse,
    ),
    Rule(
        "job-interface.command-quoting",
        "job interface",
        "Quotes in the command are closed.",
        "this project: the command is split like a shell splits",
        _interface(command="python 'make geotiff.py"),
        "/command",
        JobInterface.parse,
    ),
    Rule(
        "job-interface.duplicate-name",
        "job interface",
        "No two inputs or shared resources, and no two outputs, have the same name.",
        "Job Interface, input_data, output_data",
        _interface(input_data=[_IMAGE, _IMAGE]),
        "/input_data/1/name",
        JobInterface.parse,
    ),
    Rule(
        "job-interface.input-output-clash",
        "job interface",
        "No output has the name of an input.",
        "Job Interface: the name of every input and output must be unique",
        _interface(input_data=[_IMAGE], output_data=[_IMAGE]),
        "/output_data/0/name",
        JobInterface.parse,
    ),
    Rule(
        "job-interface.reserved-name",
        "job interface",
        "No input is called `job_output_dir`.",
        "Job Interface, command_arguments: the special value",
        _interface(input_data=[{"name": "job_output_dir", "type": "property"}]),
        "/input_data/0/name",
        JobInterface.parse,
    ),
    Rule(
        "error-mapping.duplicate-exit-code",
        "error mapping",
        "No exit code is mapped twice.",
        "Errors Interface, exit_codes",
        {"exit_codes": {"1": "unknown", "01": "unknown"}},
        "/exit_codes/01",
        ErrorMapping.parse,
    ),
    Rule(
        "error-mapping.unknown-error",
        "error mapping",
        "Every error that is mapped to exists.",
        "Errors Interface, exit_codes",
        {"exit_codes": {"1": "unknwon"}},
        "/exit_codes/1",
        error_mapping,
    ),
    Rule(
        "data.duplicate-input",
        "job data, recipe data, clock trigger rule",
        "No two entries of `input_data` have the same name.",
        "Job Data, input_data; Recipe Data, input_data",
        _data({"name": "image", "file_id": 1}, {"name": "image", "file_id": 1}),
        "/input_data/1/name",
        JobData.parse,
    ),
    Rule(
        "data.duplicate-output",
        "job data",
        "No two entries of `output_data` have the same name.",
        "Job Data, output_data",
        _data(outputs=[{"name": "a", "workspace_id": 1}, {"name": "a", "workspace_id": 2}]),
        "/output_data/1/name",
        JobData.parse,
    ),
    Rule(
        "data.input-output-clash",
        "job data",
        "No entry of `output_data` has the name of one of `input_data`.",
        "Job Data: the name of every input and output must be unique",
        _data({"name": "a", "value": "1"}, outputs=[{"name": "a", "workspace_id": 1}]),
        "/output_data/0/name",
        JobData.parse,
    ),
    Rule(
        "data.several-values",
        "job data, recipe data",
        "An input has only one of `value`, `file_id` and `file_ids`.",
        "Job Data, input_data; Recipe Data, input_data",
        _data({"name": "image", "file_id": 1, "file_ids": [2]}),
        "/input_data/0",
        JobData.parse,
    ),
    Rule(
        "data.missing-input",
        "job data, recipe data",
        "Every required input has data.",
        "Job Data, input_data; Recipe Data, input_data",
        _data(),
        "/input_data",
        job_data,
    ),
    Rule(
        "data.missing-value",
        "job data, recipe data",
        "An entry for an input that exists has a value or files.",
        "Job Data, input_data; Recipe Data, input_data",
        _data({"name": "image"}),
        "/input_data/0",
        job_data,
    ),
    Rule(
        "data.wrong-value",
        "job data, recipe data",
        "A property gets `value`, a file input `file_id`, a files input `file_ids` or `file_id`.",
        "Job Data, input_data; Recipe Data, input_data",
        _data({"name": "image", "value": "scene.png"}),
        "/input_data/0/value",
        job_data,
    ),
    Rule(
        "data.no-files",
        "job data, recipe data",
        "A required files input gets at least one file.",
        "Job Interface, files: one or more files",
        _data({"name": "tiles", "file_ids": []}, outputs=[]),
        "/input_data/0/file_ids",
        tiles_data,
    ),
    Rule(
        "data.unknown-file",
        "job data, recipe data",
        "Every file exists.",
        "Job Data, file_id; Recipe Data, file_id",
        _data({"name": "image", "file_id": 99}),
        "/input_data/0/file_id",
        job_data,
    ),
    Rule(
        "data.media-type",
        "job data, recipe data",
        "Every file has a media type that its input accepts; `application/octet-stream` accepts all.",
        "Job Interface, media_types",
        _data({"name": "image", "file_id": 2}),
        "/input_data/0/file_id",
        job_data,
    ),
    Rule(
        "data.missing-output",
        "job data",
        "Every output has an entry that says its workspace.",
        "Job Data, output_data",
        _data({"name": "image", "file_id": 1}, outputs=_OUTPUTS[:1]),
        "/output_data",
        job_data,
    ),
    Rule(
        "data.unknown-workspace",
        "job data, recipe data",
        "Every workspace exists.",
        "Job Data, workspace_id; Recipe Data, workspace_id",
        {"workspace_id": 99},
        "/workspace_id",
        recipe_data,
    ),
    Rule(
        "data.inactive-workspace",
        "job data, recipe data",
        "Every workspace is active.",
        "Workspace Services, is_active",
        {"workspace_id": 2},
        "/workspace_id",
        recipe_data,
    ),
    Rule(
        "data.missing-workspace",
        "recipe data",
        "There is a workspace if any job of the recipe produces files.",
        "Recipe Data, workspace_id",
        {"input_data": []},
        "",
        recipe_data,
    ),
    Rule(
        "results-manifest.version",
        "results manifest",
        "The version is 1.0 or 1.1.",
        "Results Manifest, version",
        {"version": "2.0"},
        "/version",
        ResultsManifest.parse,
    ),
    Rule(
        "results-manifest.duplicate-output",
        "results manifest",
        "No two entries are for the same output.",
        "Results Manifest, output_data",
        {"output_data": [{"name": "a", "file": {"path": "1"}}, {"name": "a", "file": {"path": "2"}}]},
        "/output_data/1/name",
        ResultsManifest.parse,
    ),
    Rule(
        "results-manifest.one-of-file-and-files",
        "results manifest",
        "An output has exactly one of `file` and `files` (in version 1.0 of `path` and `paths`).",
        "Results Manifest, file; version 1.0, path",
        {"output_data": [{"name": "a"}]},
        "/output_data/0",
        ResultsManifest.parse,
    ),
    Rule(
        "results-manifest.time",
        "results manifest",
        "Times are ISO 8601.",
        "Results Manifest, data_started, data_ended",
        {"parse_results": [{"filename": "a.h5", "data_started": "yesterday"}]},
        "/parse_results/0/data_started",
        ResultsManifest.parse,
    ),
    Rule(
        "results-manifest.missing-output",
        "results manifest",
        "Every required output was produced.",
        "Job Interface, output_data, required",
        {"output_data": []},
        "/output_data",
        manifest,
    ),
    Rule(
        "results-manifest.file-or-files",
        "results manifest",
        "A file output has `file`, a files output `files`.",
        "Results Manifest, file, files",
        {"output_data": [{"name": "geo_image", "files": [{"path": "a.tif"}]}]},
        "/output_data/0",
        manifest,
    ),
)
