# SPDX-License-Identifier: Apache-2.0
"""Answers become typed objects: unknown fields stay, secrets don't, and nonsense is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rescale.test_refusals import ANY_JSON

from scale_airflow.errors import RescaleBadAnswer
from scale_airflow.rescale import models, parse_moment
from scale_airflow.rescale.documents import parse_json, without_secrets
from scale_airflow.rescale.models import JobStatus, by_date

# Shaped like the answers that Rescale's API documentation shows.
FILE = {
    "pathParts": {"path": "user/x.zip", "container": "c"},
    "typeId": 1,
    "name": "input.zip",
    "dateUploaded": "2016-11-11T18:50:54.078468Z",
    "relativePath": "input.zip",
    "decryptedSize": 10391660,
    "downloadUrl": "https://platform.rescale.com/api/v2/files/yMqdxd/contents/",
    "encodedEncryptionKey": "N1iq48GWyEDkMG1wTHI656hcJZKdSQecuwKhu31Epd0=",
    "isUploaded": True,
    "id": "yMqdxd",
    "isDeleted": False,
    "md5": "159bb1cdd01987f9122f5ec673958eaf",
    "futureField": {"a": [1]},
}
JOB = {
    "id": "RcAFeb",
    "name": "LS-DYNA",
    "owner": "demo@example.com",
    "isLowPriority": False,
    "projectId": None,
    "expectedRuns": None,
    "jobanalyses": [
        {
            "analysis": {"code": "ls_dyna", "version": "9.0.0", "name": "LS-DYNA", "versionName": "R9.0.0"},
            "hardware": {"coresPerSlot": 2, "coreType": "hpc-3", "slots": 1, "walltime": 750},
            "command": "ls-dyna -n 2",
            "inputFiles": [FILE],
        }
    ],
}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-11-15T19:01:13.948641Z", datetime(2016, 11, 15, 19, 1, 13, 948641, timezone.utc)),
        ("2016-11-15T19:01:13.948641", datetime(2016, 11, 15, 19, 1, 13, 948641, timezone.utc)),
        ("2014-03-01T10:00:00-07:00", datetime(2014, 3, 1, 17, tzinfo=timezone.utc)),
        ("2016-11-15T19:01:13+00:00", datetime(2016, 11, 15, 19, 1, 13, tzinfo=timezone.utc)),
    ],
)
def test_the_forms_of_dates(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2016-13-01", "0001-01-01T00:00:00+23:59"])
def test_dates_that_are_none(text: str) -> None:
    with pytest.raises(RescaleBadAnswer, match="where a date should be"):
        parse_moment(text)


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_a_clear_error(text: str) -> None:
    try:
        assert parse_moment(text).tzinfo is timezone.utc
    except RescaleBadAnswer:
        return


def test_a_file() -> None:
    file = models.RemoteFile.from_document(
        {**FILE, "fileChecksums": [{"hashFunction": "sha512", "fileHash": "AB" * 64}]}
    )
    assert (file.id, file.name, file.size, file.type_id) == ("yMqdxd", "input.zip", 10391660, 1)
    assert file.type_id == models.FileType.INPUT
    assert (file.sha512, file.md5) == ("ab" * 64, "159bb1cdd01987f9122f5ec673958eaf")
    assert file.document["futureField"] == {"a": [1]}
    assert "N1iq48" not in repr(file) + json.dumps(file.document)


def test_a_file_of_which_little_is_told() -> None:
    file = models.RemoteFile.from_document(
        {"id": 7, "fileChecksums": [{"hashFunction": "sha512", "fileHash": "../x"}]}
    )
    assert (file.id, file.size, file.sha512, file.md5, file.relative_path) == ("7", None, None, None, "")


def test_a_job_and_its_analyses() -> None:
    job = models.Job.from_document({**JOB, "tags": ["a", {"name": "b"}]})
    assert (job.id, job.project_id, job.tags) == ("RcAFeb", None, ("a", "b"))
    (analysis,) = job.analyses
    assert (analysis.code, analysis.core_type, analysis.cores_per_slot) == ("ls_dyna", "hpc-3", 2)
    assert analysis.walltime_hours == Decimal(750)
    assert analysis.input_files[0].id == "yMqdxd"
    assert "encodedEncryptionKey" not in json.dumps(job.document)


def test_hardware_and_prices() -> None:
    core_type = models.CoreType.from_document(
        {"code": "granite", "cores": [2, 4.0], "price": "0.12", "lowPriorityPrice": "0.06", "memory": 4000,
         "gpuCounts": [0.0], "categoryCodes": ["general"]}
    )  # fmt: skip
    assert (core_type.cores, core_type.price) == ((2, 4), Decimal("0.12"))
    price = models.ComputePrice.from_document(
        {"coreType": "granite", "planType": "on-demand", "value": {"amount": "0.1"}}
    )
    assert price.amount == Decimal("0.1")


def test_runs_and_the_rest() -> None:
    run = models.Run.from_document(
        {
            "id": "1",
            "dateStarted": "2014-11-12T22:55:56Z",
            "dateCompleted": None,
            "variables": [{"name": "x"}],
        }
    )
    assert run.is_active
    assert run.variables[0].name == "x"
    assert models.Snapshot.from_document(None).id == ""
    assert models.TailLines.from_document({"lines": ["a\n"]}).lines == ("a\n",)
    assert models.Instance.from_document({"publicIp": "1.2.3.4", "sshPort": "2222"}).ssh_port == 2222


@pytest.mark.parametrize(
    ("read", "document", "fault"),
    [
        (models.Job.from_document, [], "a list where a job should be"),
        (models.Job.from_document, {}, "a job whose 'id' is nothing, not a text"),
        (models.Job.from_document, {"id": {}}, "whose 'id' is an object"),
        (models.Job.from_document, {"id": "J", "jobanalyses": "x"}, "'jobanalyses' is a text, not a list"),
        (models.RemoteFile.from_document, {"id": "F", "decryptedSize": -1}, "not a size"),
        (models.JobStatus.from_document, {"status": None}, "a status whose 'status' is null"),
        (models.tag_name, 5, "name of a tag"),
    ],
)
def test_answers_that_are_wrong(read: Callable[[Any], Any], document: Any, fault: str) -> None:
    with pytest.raises(RescaleBadAnswer, match=fault):
        read(document)


READERS = [
    getattr(models, name).from_document
    for name in models.__all__
    if hasattr(getattr(models, name), "from_document")
]
FIELD = st.sampled_from(
    sorted({*FILE, *JOB, "statusDate", "status", "cores", "lines", "variables", "versions"})
)


@settings(max_examples=70)
@given(st.sampled_from(READERS), st.dictionaries(FIELD, ANY_JSON, max_size=5) | ANY_JSON)
def test_any_answer_is_read_or_named_as_bad(read: Callable[[Any], Any], document: Any) -> None:
    try:
        assert read(document) is not None
    except RescaleBadAnswer as error:
        assert len(str(error)) < 500  # noqa: PT017 - only if it is raised


def test_what_is_new_keeps_nobody_from_the_rest() -> None:
    status = models.JobStatus.from_document({"status": "Executing", "statusDate": "22. November 2026"})
    assert (status.date, status.document["statusDate"]) == (None, "22. November 2026")
    job = models.Job.from_document(
        {
            **JOB,
            "expectedRuns": "many",
            "tags": ["a", {"label": "b"}, 5],
            "jobanalyses": [{"hardware": {"slots": "2.0"}}],
        }
    )
    assert (job.expected_runs, job.tags, job.analyses[0].slots) == (None, ("a",), 2)
    core_type = models.CoreType.from_document({"code": "c", "cores": [4, "all", "1e99"], "memory": "4 GB"})
    assert (core_type.cores, core_type.memory_mb_per_core) == ((4,), None)
    for size in ("big", 1e999, 1.5, "1e999999999", [1]):
        assert models.RemoteFile.from_document({"id": "F", "decryptedSize": size}).size is None


def test_statuses_are_sorted_by_date_and_ties_keep_their_order() -> None:
    rows = [
        JobStatus.from_document({"status": status, "statusDate": date})
        for status, date in [
            ("b", "2026-01-01T00:00:01"),
            ("d", "2026-01-01T00:00:03Z"),
            ("c", "2026-01-01T00:00:02Z"),
            ("c-too", "2026-01-01T02:00:02+02:00"),
            ("undated", None),
        ]
    ]
    assert [row.status for row in by_date(rows)] == ["d", "c", "c-too", "b", "undated"]
    assert by_date([]) == []


@settings(max_examples=25)
@given(ANY_JSON)
def test_json_without_secrets_is_the_same(document: Any) -> None:
    assert without_secrets(document) == document
    hidden = {"encodedEncryptionKey": "x", "in": [{"EncodedEncryptionKey": "x", "y": document}]}
    assert without_secrets(hidden) == {"in": [{"y": document}]}


@pytest.mark.parametrize("body", [b"NaN", b"[1,", b"\xff", b"[" * 100_000, b"Infinity", b"", b'{"a":1}x'])
def test_json_that_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(body)
