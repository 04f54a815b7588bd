# SPDX-License-Identifier: Apache-2.0
"""Files to and from the emulator: what breaks on the way, and what its counters say was done about it."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scale_airflow.errors import (
    CorruptTransfer,
    RescaleError,
    RescaleServerError,
    RescaleThrottled,
    RescaleUnauthorized,
    TransferError,
)
from scale_airflow.rescale.client import RescaleClient
from scale_airflow.rescale.credentials import Credentials
from scale_airflow.rescale.emulator.process import EmulatorProcess
from scale_airflow.rescale.endpoints_files import delete_file, get_file, list_files
from scale_airflow.rescale.endpoints_jobs import create_job, list_job_files, list_statuses, submit_job
from scale_airflow.rescale.file_models import RemoteFile
from scale_airflow.rescale.policy import RequestPolicy
from scale_airflow.rescale.transfers import Downloaded, Downloader, Progress, Uploader

MIB = 1 << 20
POLICY = RequestPolicy(
    connect_timeout=5, read_timeout=1.5, tries=4, first_pause=0.01, pause_cap=0.05, longest_pause=5
)
CONTENTS = "/contents/"
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rescale-transfers.md"
SIDE = Path(__file__).with_name("transfer_side.py")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root", pace=0.002) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(emulator: EmulatorProcess) -> Iterator[None]:
    emulator.admin.reset_counters()
    yield
    emulator.admin.clear_faults()
    emulator.admin.settings(speed_per_connection=0, speed_total=0, latency=0)


@pytest.fixture(scope="module")
def credentials(emulator: EmulatorProcess) -> Credentials:
    return Credentials.of(emulator.base_url, emulator.api_key)


@pytest.fixture(scope="module")
def client(credentials: Credentials) -> Iterator[RescaleClient]:
    with RescaleClient(credentials, policy=POLICY) as made:
        yield made


@pytest.fixture(scope="module")
def big(emulator: EmulatorProcess, client: RescaleClient) -> RemoteFile:
    return client.send(get_file(emulator.admin.make_file("big.bin", 8 * MIB)["id"]))


@pytest.fixture
def uploader(credentials: Credentials) -> Iterator[Uploader]:
    with Uploader(credentials, policy=POLICY, connections=4) as made:
        yield made


def fetch(credentials: Credentials, file: RemoteFile, place: Path, **options: Any) -> Downloaded:
    with Downloader(credentials, policy=POLICY, connections=options.pop("connections", 4)) as downloader:
        (found,) = downloader.download([file], place, **options)
    assert found.sha512 == file.sha512 == hashlib.sha512(found.path.read_bytes()).hexdigest()
    assert [path.name for path in place.iterdir()] == [file.name]
    return found


def text(size: int) -> bytes:
    chance = random.Random(9)
    line = "".join(f"{number},{chance.random():.6f}\n" for number in range(2000)).encode()
    return (line * (size // len(line) + 1))[:size]


# -- downloads -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset", "per_megabyte": 0.3, "times": None},
        {"kind": "truncate", "after_bytes": 300_000, "times": 3},
        {"kind": "stall", "after_bytes": 300_000, "times": 1},
        {"kind": "corrupt", "after_bytes": 5000, "times": 1},
        {"kind": "status", "status": 429, "retry_after": "seconds", "seconds": 0, "times": 3},
        {"kind": "status", "status": 503, "retry_after": "date", "seconds": 0, "times": 3},
        {"kind": "cut", "times": 3},
        {"kind": "ignore_range", "times": None},
        {"kind": "slow", "speed": 200_000, "times": 1},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
def test_whatever_breaks_the_file_arrives(
    emulator: EmulatorProcess,
    credentials: Credentials,
    big: RemoteFile,
    tmp_path: Path,
    fault: dict[str, Any],
) -> None:
    emulator.admin.add_fault(method="GET", path=CONTENTS, **fault)
    fetch(credentials, big, tmp_path)
    assert any(rule["fired"] for rule in emulator.admin.faults())


def test_wrong_bytes_twice_are_refused_and_nothing_is_left(
    emulator: EmulatorProcess, credentials: Credentials, big: RemoteFile, tmp_path: Path
) -> None:
    emulator.admin.add_fault("corrupt", path=CONTENTS, after_bytes=5000, times=None)
    with pytest.raises(CorruptTransfer, match=r"big\.bin"):
        fetch(credentials, big, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_wants_a_long_pause_is_believed(
    emulator: EmulatorProcess, credentials: Credentials, big: RemoteFile, tmp_path: Path
) -> None:
    emulator.admin.add_fault(
        "status", path=CONTENTS, status=429, retry_after="seconds", seconds=3600, times=None
    )
    with pytest.raises(RescaleThrottled, match=r"big\.bin"):
        fetch(credentials, big, tmp_path)


@pytest.mark.parametrize("key", ["expired_key", "inactive_key", "other_region_key"])
def test_a_key_that_is_not_good_says_what_to_do(
    emulator: EmulatorProcess, big: RemoteFile, tmp_path: Path, key: str
) -> None:
    told = getattr(emulator, key)
    with pytest.raises(RescaleUnauthorized) as caught:
        fetch(Credentials.of(emulator.base_url, told), big, tmp_path / "here")
    assert told not in str(caught.value)
    (tmp_path / "input").write_text("x")
    with pytest.raises(RescaleUnauthorized), Uploader(Credentials.of(emulator.base_url, told)) as uploader:
        uploader.upload([tmp_path / "input"])


def test_several_connections_share_a_file_and_hardly_a_byte_comes_twice(
    emulator: EmulatorProcess, credentials: Credentials, big: RemoteFile, tmp_path: Path
) -> None:
    emulator.admin.settings(speed_per_connection=8 * MIB)
    fetch(credentials, big, tmp_path, connections=6)
    counters = emulator.admin.counters()
    # What was on its way when somebody else took over the rest of a piece.
    assert big.size is not None
    assert counters["bytes_sent"][big.id] <= big.size + MIB
    assert counters["opened_connections"] <= 6 + 1  # and that of the fault rules' client


def test_many_small_files_share_few_connections(
    emulator: EmulatorProcess, credentials: Credentials, client: RescaleClient, tmp_path: Path
) -> None:
    for number in range(60):
        emulator.admin.make_file(f"tiny-{number}", 500 + number, seed=number)
    files = client.all(list_files(search="tiny-"))
    emulator.admin.reset_counters()
    emulator.admin.settings(latency=0.02)
    with Downloader(credentials, policy=POLICY, connections=8) as downloader:
        found = downloader.download(files, tmp_path)
    assert all(each.path.stat().st_size == each.file.size for each in found)
    counters = emulator.admin.counters()
    assert counters["by_endpoint"]["GET /files/{file}/contents/"] == 60
    assert counters["opened_connections"] <= 8
    assert counters["peak_requests"] >= 4


def test_the_size_is_asked_for_where_it_is_not_known(
    credentials: Credentials, big: RemoteFile, tmp_path: Path
) -> None:
    with Downloader(credentials, policy=POLICY) as downloader:
        (found,) = downloader.download([RemoteFile(big.id)], tmp_path)
    assert found.path == tmp_path / "big.bin"
    assert found.sha512 == big.sha512


def test_a_killed_download_goes_on_where_it_was(
    emulator: EmulatorProcess, credentials: Credentials, client: RescaleClient, tmp_path: Path
) -> None:
    file = client.send(get_file(emulator.admin.make_file("huge.bin", 32 * MIB)["id"]))
    emulator.admin.settings(speed_per_connection=4 * MIB)
    emulator.admin.reset_counters()
    place = tmp_path / "here"
    told = json.dumps([emulator.base_url, emulator.api_key, "download", file.id, str(place)])
    with subprocess.Popen([sys.executable, str(SIDE), told], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert not (place / "huge.bin").exists()
    emulator.admin.settings(speed_per_connection=0)
    told_progress: list[Progress] = []
    fetch(credentials, file, place, progress=told_progress.append)
    assert told_progress[0].total_done >= 14 * MIB
    assert file.size is not None
    # A quarter of a MiB a connection that was not noted yet, and what was on its way to the killed process.
    assert emulator.admin.counters()["bytes_sent"][file.id] <= file.size + 5 * MIB


def test_memory_does_not_grow_with_the_file(emulator: EmulatorProcess, tmp_path: Path) -> None:
    made = emulator.admin.make_file("memory", 48 * MIB)
    told = json.dumps([emulator.base_url, emulator.api_key, "both", made["id"], str(tmp_path)])
    ended = subprocess.run(
        [sys.executable, str(SIDE), told], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ended.stdout.splitlines()[-1])["MiB"] < 24


# -- uploads -------------------------------------------------------------------------------------------------
def test_files_and_directories_are_sent_and_not_again(
    emulator: EmulatorProcess, uploader: Uploader, tmp_path: Path
) -> None:
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "x").write_text("x")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / 'a "b" ü.txt').write_bytes(text(3 * MIB))
    paths = sorted(tmp_path.iterdir())
    told: list[Progress] = []
    sent = uploader.upload(paths, progress=told.append)
    assert [file.name for file in sent] == ['a "b" ü.txt', "empty", "folder.zip"]
    assert sent[0].sha512 == hashlib.sha512(text(3 * MIB)).hexdigest()
    assert (told[-1].files_done, told[-1].total_done) == (3, told[-1].total)
    assert [file.id for file in uploader.upload(paths)] == [file.id for file in sent]
    counters = emulator.admin.counters()
    assert counters["by_endpoint"]["POST /files/contents/"] == 3
    again = uploader.upload(paths[:1], reuse=False)
    assert again[0].id != sent[0].id


def test_of_many_files_the_list_is_read_once(
    emulator: EmulatorProcess, uploader: Uploader, tmp_path: Path
) -> None:
    for number in range(30):
        (tmp_path / f"many-{number}").write_text(str(number))
    paths = sorted(tmp_path.iterdir())
    first = uploader.upload(paths)
    emulator.admin.reset_counters()
    assert [file.id for file in uploader.upload(paths)] == [file.id for file in first]
    asked = emulator.admin.counters()["by_endpoint"]
    assert "POST /files/contents/" not in asked
    assert asked["GET /files/"] < 10


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut_upload", "after_bytes": 500_000, "times": 2},
        {"kind": "status", "status": 503, "times": 2},
        {"kind": "status", "status": 429, "retry_after": "seconds", "seconds": 0, "times": 2},
        {"kind": "cut", "times": 2},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
def test_a_broken_upload_is_sent_again(
    emulator: EmulatorProcess, uploader: Uploader, tmp_path: Path, fault: dict[str, Any]
) -> None:
    content = random.Random(str(fault)).randbytes(2 * MIB)
    path = tmp_path / "input"
    path.write_bytes(content)
    emulator.admin.add_fault(method="POST", path=CONTENTS, **fault)
    (file,) = uploader.upload([path], reuse=False)
    assert file.sha512 == hashlib.sha512(content).hexdigest()
    assert emulator.admin.faults()[0]["fired"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost"},
        {"kind": "status", "status": 502, "effect": True},
        {"kind": "garbage", "effect": True},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_lost_answer_makes_no_second_file(
    emulator: EmulatorProcess,
    client: RescaleClient,
    uploader: Uploader,
    tmp_path: Path,
    fault: dict[str, Any],
) -> None:
    name = f"lost-{fault['kind']}"
    (tmp_path / name).write_bytes(text(100_000))
    emulator.admin.add_fault(method="POST", path=CONTENTS, **fault)
    (file,) = uploader.upload([tmp_path / name], reuse=False)
    assert emulator.admin.counters()["by_endpoint"]["POST /files/contents/"] == 1
    assert [found.id for found in client.pages(list_files(search=name))] == [file.id]


def test_when_one_file_fails_the_others_are_deleted(
    emulator: EmulatorProcess, client: RescaleClient, uploader: Uploader, tmp_path: Path
) -> None:
    for number in range(4):
        (tmp_path / f"orphan-{number}").write_bytes(text(1000 + number))
    emulator.admin.add_fault("status", method="POST", path=CONTENTS, status=400, skip=3)
    with pytest.raises(RescaleError):
        uploader.upload(sorted(tmp_path.iterdir()))
    assert [file for file in client.pages(list_files(search="orphan-")) if not file.is_deleted] == []


def test_a_server_that_keeps_failing_is_told(
    emulator: EmulatorProcess, uploader: Uploader, tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(text(1000))
    emulator.admin.add_fault("status", method="POST", path=CONTENTS, status=500, times=None)
    with pytest.raises(RescaleServerError, match=r"^input: "):
        uploader.upload([tmp_path / "input"], reuse=False)


def test_a_file_that_is_deleted_there_is_sent_again(
    client: RescaleClient, uploader: Uploader, tmp_path: Path
) -> None:
    (tmp_path / "deleted-input").write_bytes(text(1000))
    (first,) = uploader.upload([tmp_path / "deleted-input"])
    client.send(delete_file(first.id))
    (second,) = uploader.upload([tmp_path / "deleted-input"])
    assert second.id != first.id


# -- volumes -------------------------------------------------------------------------------------------------
def test_volumes_become_the_file_in_a_job(
    emulator: EmulatorProcess,
    client: RescaleClient,
    uploader: Uploader,
    credentials: Credentials,
    tmp_path: Path,
) -> None:
    path = tmp_path / "it's large; $HOME.csv"
    path.write_bytes(text(9 * MIB) + random.Random(1).randbytes(3 * MIB))
    told: list[Progress] = []
    volumes = uploader.upload_volumes(path, progress=told.append, volume_size=2 * MIB)
    assert len(volumes.files) > 4
    assert volumes.sent < volumes.size
    assert told[-1].total_done == volumes.size
    assert volumes.sha512 == hashlib.sha512(path.read_bytes()).hexdigest()
    emulator.admin.reset_counters()
    again = uploader.upload_volumes(path)
    assert [file.id for file in again.files] == [file.id for file in volumes.files]
    assert (again.sent, emulator.admin.counters()["bytes_received"]) == (0, 0)

    command = volumes.wrap("cp it\\'s* copy.csv")
    job = client.send(
        create_job(
            {
                "name": "volumes",
                "jobanalyses": [
                    {
                        "analysis": {"code": "user_included", "version": "0"},
                        "command": command,
                        "hardware": {"coreType": "granite", "coresPerSlot": 2, "walltime": 1},
                        "inputFiles": volumes.input_files,
                    }
                ],
            }
        )
    )
    client.send(submit_job(job.id))
    wait_for_end(client, job.id)
    files = {file.name: file for file in client.pages(list_job_files(job.id))}
    assert files["copy.csv"].sha512 == volumes.sha512
    with Downloader(credentials, policy=POLICY) as downloader:
        (log,) = downloader.download([files["process_output.log"]], tmp_path)
    assert "put together from" in log.path.read_text()


def test_the_examples_of_the_page(
    emulator: EmulatorProcess, client: RescaleClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(block, names)
    monkeypatch.setenv("RESCALE_API_KEY", emulator.api_key)
    monkeypatch.setenv("RESCALE_API_BASE_URL", emulator.base_url)
    (tmp_path / "mesh.dat").write_bytes(text(3 * MIB))
    job_id = names["run_with_large_input"](tmp_path / "mesh.dat")
    wait_for_end(client, job_id)
    names["fetch_results"](job_id, tmp_path / "results")
    told = (tmp_path / "results" / "checksum.txt").read_text()
    assert told == f"{hashlib.sha512(text(3 * MIB)).hexdigest()}  mesh.dat\n"


def test_volumes_that_fail_are_deleted(
    emulator: EmulatorProcess, client: RescaleClient, uploader: Uploader, tmp_path: Path
) -> None:
    path = tmp_path / "failing.csv"
    path.write_bytes(random.Random(2).randbytes(8 * MIB))
    emulator.admin.add_fault("status", method="POST", path=CONTENTS, status=400, skip=3)
    with pytest.raises(RescaleError):
        uploader.upload_volumes(path, volume_size=MIB)
    assert [file for file in client.pages(list_files(search="failing.csv")) if not file.is_deleted] == []


def test_volumes_of_which_one_is_gone_are_sent_anew(
    client: RescaleClient, uploader: Uploader, tmp_path: Path
) -> None:
    path = tmp_path / "gone.csv"
    path.write_bytes(text(6 * MIB))
    first = uploader.upload_volumes(path, volume_size=MIB)
    client.send(delete_file(first.files[1].id))
    second = uploader.upload_volumes(path, volume_size=MIB)
    assert second.sent > 0
    assert not {file.id for file in first.files} & {file.id for file in second.files}


def test_an_input_that_changes_while_it_is_sent_is_refused(
    client: RescaleClient, uploader: Uploader, tmp_path: Path
) -> None:
    path = tmp_path / "growing.csv"
    path.write_bytes(random.Random(3).randbytes(16 * MIB))

    def grow(progress: Progress) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(TransferError, match="changed while it was sent"):
        uploader.upload([path], progress=grow)
    with pytest.raises(TransferError, match="changed while it was sent"):
        uploader.upload_volumes(path, progress=grow)
    assert [file for file in client.pages(list_files(search="growing")) if not file.is_deleted] == []


def wait_for_end(client: RescaleClient, job_id: str) -> None:
    """Wait until a job is completed."""
    deadline = time.monotonic() + 60
    while "Completed" not in {status.status for status in client.pages(list_statuses(job_id))}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
