# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on purpose: every kind of fault as a client meets it; throttling; a slow network."""

from __future__ import annotations

import concurrent.futures
import http.client
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from scale_airflow.rescale.emulator.process import AdminRefusedError, EmulatorProcess

SIZE = 300_000
DRAFT = {
    "name": "draft",
    "jobanalyses": [
        {
            "analysis": {"code": "user_included", "version": "0"},
            "command": "true",
            "hardware": {"coreType": "granite", "coresPerSlot": 2},
        }
    ],
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root", gateway_timeout_every=0) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(emulator: EmulatorProcess) -> Iterator[None]:
    yield
    emulator.admin.clear_faults()
    emulator.admin.settings(
        throttle=False,
        speed_per_connection=0,
        speed_total=0,
        latency=0,
        retry_after="seconds",
        rates={"user": [7200, 3600], "job-submission": [1000, 3600], "jobs-usage": [90000, 3600]},
    )


@pytest.fixture(scope="module")
def file(emulator: EmulatorProcess) -> tuple[str, bytes]:
    made = emulator.admin.make_file("big.bin", SIZE)
    path = f"/api/v2/files/{made['id']}/contents/"
    content = requests.get(emulator.base_url + path, headers=token(emulator)).content
    assert len(content) == SIZE
    return path, content


def token(emulator: EmulatorProcess) -> dict[str, str]:
    return {"Authorization": f"Token {emulator.api_key}"}


class Answer:
    def __init__(
        self,
        emulator: EmulatorProcess,
        method: str,
        path: str,
        body: Any = None,
        timeout: float = 10,
        **headers: str,
    ) -> None:
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", urlsplit(emulator.base_url).port, timeout=timeout
        )
        try:
            self.connection.request(method, path, body, {**token(emulator), **headers})
            self.answer = self.connection.getresponse()
        except OSError:
            self.connection.close()
            raise

    def read(self) -> bytes:
        try:
            return self.answer.read()
        finally:
            self.connection.close()


def get(emulator: EmulatorProcess, path: str, **headers: str) -> tuple[int, bytes]:
    answer = Answer(emulator, "GET", path, **headers)
    return answer.answer.status, answer.read()


def test_a_rule_hits_the_requests_that_it_names(emulator: EmulatorProcess) -> None:
    rule = emulator.admin.add_fault("status", method="GET", path="/users/me/$", status=502, skip=1, times=2)
    statuses = [get(emulator, "/api/v2/users/me/")[0] for _ in range(5)]
    assert statuses == [200, 502, 502, 200, 200]
    assert get(emulator, "/api/v2/users/me/projects/")[0] == 200
    (shown,) = emulator.admin.faults()
    assert (shown["id"], shown["matched"], shown["fired"]) == (rule, 5, 2)
    assert [one["fault"] for one in emulator.admin.requests("me/$")][-5:] == [
        None,
        "status",
        "status",
        None,
        None,
    ]


def test_a_rule_can_hold_for_ever_or_by_chance(emulator: EmulatorProcess) -> None:
    emulator.admin.add_fault("status", status=503, times=None)
    assert [get(emulator, "/api/v2/users/me/")[0] for _ in range(3)] == [503] * 3
    emulator.admin.clear_faults()
    emulator.admin.add_fault("status", status=503, times=None, probability=0.5)
    found = {get(emulator, "/api/v2/users/me/")[0] for _ in range(40)}
    assert found == {200, 503}


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_throttling_by_rule(emulator: EmulatorProcess, form: str) -> None:
    emulator.admin.add_fault("status", status=429, retry_after=form, seconds=7)
    answer = Answer(emulator, "GET", "/api/v2/users/me/")
    header = answer.answer.getheader("Retry-After")
    assert (answer.answer.status, b"Request was throttled." in answer.read()) == (429, True)
    if form == "none":
        assert header is None
    elif form == "seconds":
        assert header == "7"
    else:
        wait = parsedate_to_datetime(header or "").timestamp() - time.time()
        assert 5 < wait < 9


def test_a_page_instead_of_a_document(emulator: EmulatorProcess) -> None:
    emulator.admin.add_fault("status", status=502)
    assert b"<html>" in get(emulator, "/api/v2/users/me/")[1]
    emulator.admin.add_fault("status", status=400, body='{"name": ["no"]}')
    assert get(emulator, "/api/v2/users/me/") == (400, b'{"name": ["no"]}')
    emulator.admin.add_fault("garbage")
    assert get(emulator, "/api/v2/users/me/") == (200, b'{"count": 3, "next": null, "resul')
    emulator.admin.add_fault("garbage", body="")
    assert get(emulator, "/api/v2/users/me/") == (200, b"")


def test_a_reset_after_so_many_bytes(emulator: EmulatorProcess, file: tuple[str, bytes]) -> None:
    emulator.admin.add_fault("reset", path="/contents/", after_bytes=100_000)
    answer = Answer(emulator, "GET", file[0])
    assert answer.answer.getheader("Content-Length") == str(SIZE)
    with pytest.raises(ConnectionResetError):
        answer.read()
    assert get(emulator, file[0]) == (200, file[1])


def test_resets_by_chance_for_each_megabyte(emulator: EmulatorProcess, file: tuple[str, bytes]) -> None:
    emulator.admin.add_fault("reset", path="/contents/", per_megabyte=4, times=None)
    outcomes = set()
    for _ in range(30):
        try:
            outcomes.add(get(emulator, file[0])[1] == file[1])
        except ConnectionResetError:
            outcomes.add(False)
    assert outcomes == {True, False}


def test_a_truncated_body(emulator: EmulatorProcess, file: tuple[str, bytes]) -> None:
    emulator.admin.add_fault("truncate", path="/contents/", after_bytes=70_000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(emulator, file[0])
    assert caught.value.partial == file[1][:70_000]
    emulator.admin.add_fault("truncate", path="/users/me/", after_bytes=5)
    with pytest.raises(http.client.IncompleteRead):
        get(emulator, "/api/v2/users/me/")


def test_wrong_bytes(emulator: EmulatorProcess, file: tuple[str, bytes]) -> None:
    emulator.admin.add_fault("corrupt", path="/contents/", after_bytes=123_456)
    status, content = get(emulator, file[0])
    different = [place for place in range(SIZE) if content[place] != file[1][place]]
    assert (status, different) == (200, [123_456])
    emulator.admin.add_fault("corrupt", path="/contents/", after_bytes=10)
    status, piece = get(emulator, file[0], Range="bytes=1000-1099")
    assert (status, piece[:10], piece[10] != file[1][1010], piece[11:]) == (
        206,
        file[1][1000:1010],
        True,
        file[1][1011:1100],
    )


def test_a_stalled_connection_and_one_that_never_answers(
    emulator: EmulatorProcess, file: tuple[str, bytes]
) -> None:
    emulator.admin.add_fault("stall", path="/contents/", after_bytes=1000)
    answer = Answer(emulator, "GET", file[0])
    assert answer.answer.read(1000) == file[1][:1000]
    assert answer.connection.sock is not None
    answer.connection.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        answer.answer.read(1)
    answer.answer.close()
    answer.connection.close()
    emulator.admin.add_fault("hang", path="/users/me/")
    with pytest.raises(TimeoutError):
        Answer(emulator, "GET", "/api/v2/users/me/", timeout=0.3)
    assert get(emulator, "/api/v2/users/me/")[0] == 200


def test_a_slow_answer(emulator: EmulatorProcess, file: tuple[str, bytes]) -> None:
    emulator.admin.add_fault("slow", path="/contents/", speed=1_000_000)
    started = time.monotonic()
    assert get(emulator, file[0])[1] == file[1]
    assert time.monotonic() - started > 0.25
    emulator.admin.add_fault("delay", seconds=0.2)
    started = time.monotonic()
    assert get(emulator, "/api/v2/users/me/")[0] == 200
    assert time.monotonic() - started >= 0.2


def test_a_range_that_is_ignored(emulator: EmulatorProcess, file: tuple[str, bytes]) -> None:
    emulator.admin.add_fault("ignore_range", path="/contents/")
    assert get(emulator, file[0], Range="bytes=5-9") == (200, file[1])
    assert get(emulator, file[0], Range="bytes=5-9") == (206, file[1][5:10])


def jobs(emulator: EmulatorProcess) -> int:
    return int(requests.get(f"{emulator.base_url}/api/v2/jobs/", headers=token(emulator)).json()["count"])


@pytest.mark.parametrize(
    ("kind", "options", "done"),
    [
        ("lost", {}, 1),
        ("cut", {}, 0),
        ("hang", {"effect": True}, 1),
        ("hang", {}, 0),
        ("status", {"status": 504, "effect": True}, 1),
        ("status", {"status": 504}, 0),
        ("garbage", {"effect": True}, 1),
        ("garbage", {}, 0),
    ],
)
def test_whether_it_was_done_is_another_question(
    emulator: EmulatorProcess, kind: str, options: dict[str, Any], done: int
) -> None:
    before = jobs(emulator)
    emulator.admin.add_fault(kind, method="POST", path="/jobs/$", **options)
    place, patience = f"{emulator.base_url}/api/v2/jobs/", 0.5 if kind == "hang" else 30
    try:
        requests.post(place, json=DRAFT, headers=token(emulator), timeout=patience)
    except requests.RequestException:
        assert kind in ("lost", "cut", "hang")
    deadline = time.monotonic() + 20
    while (found := jobs(emulator) - before) < done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == done


def test_an_upload_that_is_cut(emulator: EmulatorProcess) -> None:
    emulator.admin.add_fault("cut_upload", path="/files/contents/", after_bytes=1_000_000)
    blobs = set((emulator.root / "blobs").iterdir())
    place = f"{emulator.base_url}/api/v2/files/contents/"
    with pytest.raises(requests.ConnectionError):
        requests.post(place, files={"file": ("x", bytes(5_000_000))}, headers=token(emulator))
    answer = requests.post(place, files={"file": ("x", b"x")}, headers=token(emulator))
    assert answer.status_code == 201
    assert len(set((emulator.root / "blobs").iterdir()) - blobs) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_too_many_requests_are_refused(emulator: EmulatorProcess, form: str) -> None:
    admin = emulator.admin
    admin.settings(throttle=True, retry_after=form, rates={"user": [3, 60], "billing-endpoint": [1, 60]})
    with requests.Session() as session:
        session.headers.update(token(emulator))
        answers = [session.get(f"{emulator.base_url}/api/v2/users/me/") for _ in range(4)]
        other = session.get(f"{emulator.base_url}/api/v2/billing/computeprices/")
        second = {"Authorization": f"Token {emulator.second_key}"}
        neighbour = requests.get(f"{emulator.base_url}/api/v2/users/me/", headers=second)
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["X-RateLimit-Remaining"] == "0"
    assert answers[-1].headers["X-RateLimit-Limit"] == "3"
    assert answers[-1].json()["detail"].startswith("Request was throttled. Expected available in ")
    header = answers[-1].headers["Retry-After"]
    seconds = int(header) if form == "seconds" else parsedate_to_datetime(header).timestamp() - time.time()
    assert 0 < seconds <= 61
    assert (other.status_code, neighbour.status_code) == (200, 200)


def test_faults_and_settings_that_are_none(emulator: EmulatorProcess) -> None:
    admin = emulator.admin
    for kind, options, words in (
        ("reset", {"after_bytes": -1}, "after_bytes is a number"),
        ("status", {"status": 99}, "status is between 200 and 599"),
        ("status", {"retry_after": "soon"}, "retry_after is seconds, date or none"),
        ("status", {"path": "("}, "path is no regular expression"),
        ("status", {"effect": 1, "when": 3}, r"no 'when'.* effect is true or false"),
    ):
        with pytest.raises(AdminRefusedError, match=words):
            admin.add_fault(kind, **{"path": "", **options})
    for name, value in (
        ("rates", {"user": [0, 1]}),
        ("throttle", 1),
        ("retry_after", "x"),
        ("speed_total", -1),
    ):
        with pytest.raises(AdminRefusedError, match=name):
            admin.settings(**{name: value})


def fetch(emulator: EmulatorProcess, path: str, count: int) -> float:
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for _ in pool.map(lambda _: get(emulator, path), range(count)):
            pass
    return time.monotonic() - started


def test_each_connection_has_its_speed_and_all_have_theirs(
    emulator: EmulatorProcess, file: tuple[str, bytes]
) -> None:
    emulator.admin.settings(speed_per_connection=SIZE)
    alone, four = fetch(emulator, file[0], 1), fetch(emulator, file[0], 4)
    assert alone > 0.85
    # One after the other they would take four seconds.
    assert four < 3.4
    emulator.admin.settings(speed_per_connection=0, speed_total=4 * SIZE)
    together = fetch(emulator, file[0], 4)
    assert together > 0.85


def test_uploads_are_shaped_too(emulator: EmulatorProcess) -> None:
    emulator.admin.settings(speed_per_connection=1_000_000)
    started = time.monotonic()
    place = f"{emulator.base_url}/api/v2/files/contents/"
    requests.post(place, files={"file": ("x", bytes(600_000))}, headers=token(emulator))
    assert time.monotonic() - started > 0.45


def test_latency_comes_before_every_answer(emulator: EmulatorProcess) -> None:
    emulator.admin.settings(latency=0.1)
    started = time.monotonic()
    get(emulator, "/api/v2/users/me/")
    assert time.monotonic() - started >= 0.1
