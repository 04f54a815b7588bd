# SPDX-License-Identifier: Apache-2.0
"""Account, catalogue and files of the emulator, over real HTTP."""

from __future__ import annotations

import hashlib
import http.client
import io
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from scale_airflow.rescale.emulator.process import AdminRefusedError, EmulatorProcess

DATA = bytes(range(256)) * 5000 + b"\r\n--not the end\r\n"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator") / "root") as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(emulator: EmulatorProcess) -> Iterator[None]:
    yield
    emulator.admin.clear_faults()


@pytest.fixture(scope="module")
def session(emulator: EmulatorProcess) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.headers["Authorization"] = f"Token {emulator.api_key}"
        yield made


def address(emulator: EmulatorProcess, path: str) -> str:
    return f"{emulator.base_url}/api/v2{path}"


def upload(
    emulator: EmulatorProcess, session: requests.Session, data: bytes = DATA, name: str = "a.bin"
) -> dict[str, Any]:
    answer = session.post(address(emulator, "/files/contents/"), files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (None, "Authentication credentials were not provided."),
        ("Basic abc", "Authentication credentials were not provided."),
        ("Token", "Invalid token header. No credentials provided."),
        ("Token a b", "Invalid token header. Token string should not contain spaces."),
        ("Token {0.other_region_key}", "Invalid token."),
        ("Token {0.expired_key}", "API key is no longer active"),
        ("Token {0.inactive_key}", "User inactive or deleted."),
    ],
)
def test_who_has_no_good_key_is_told_why(emulator: EmulatorProcess, header: str | None, detail: str) -> None:
    headers = {} if header is None else {"Authorization": header.format(emulator)}
    answer = requests.get(address(emulator, "/users/me/"), headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"detail": detail})


def test_the_root_tells_good_keys_from_others(emulator: EmulatorProcess, session: requests.Session) -> None:
    assert session.get(address(emulator, "/")).json()["jobs"] == address(emulator, "/jobs/")
    assert requests.get(address(emulator, "/")).status_code == 401


def test_token_and_bearer_say_the_same(emulator: EmulatorProcess) -> None:
    for word in ("Token", "Bearer", "token"):
        headers = {"Authorization": f"{word} {emulator.api_key}"}
        answer = requests.get(address(emulator, "/users/me/"), headers=headers)
        assert answer.json()["email"] == "demo@example.com"


def test_paths_have_the_slash_at_their_end(emulator: EmulatorProcess, session: requests.Session) -> None:
    moved = session.get(address(emulator, "/coretypes?page=2"), allow_redirects=False)
    assert (moved.status_code, moved.headers["Location"]) == (301, "/api/v2/coretypes/?page=2")
    assert session.get(address(emulator, "/coretypes?page=2")).json()["previous"] == address(
        emulator, "/coretypes/"
    )
    for answer in (
        session.post(address(emulator, "/files/contents"), files={"file": ("a", b"")}),
        session.get(address(emulator, "/nothing/")),
        session.get(f"{emulator.base_url}/api/v1/users/me/"),
        session.get(f"{emulator.base_url}/"),
    ):
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    wrong = session.post(address(emulator, "/users/me/"))
    assert (wrong.status_code, wrong.json()) == (405, {"detail": 'Method "POST" not allowed.'})


def test_lists_come_in_pages_of_ten(emulator: EmulatorProcess, session: requests.Session) -> None:
    first = session.get(address(emulator, "/coretypes/")).json()
    assert (len(first["results"]), first["previous"]) == (10, None)
    found = [one["code"] for one in first["results"]]
    following = first["next"]
    while following:
        page = session.get(following).json()
        found += [one["code"] for one in page["results"]]
        following = page["next"]
    assert len(found) == len(set(found)) == first["count"] > 20
    assert {"granite", "emerald_max", "hpc-3", "standard-plus"} <= set(found)
    whole = session.get(address(emulator, "/coretypes/?page_size=9999&isActive=true")).json()
    assert whole["next"] is None
    assert not any(one["isDeprecated"] for one in whole["results"])
    for page_number in ("99", "0", "x", "-1", "٣"):
        answer = session.get(address(emulator, "/coretypes/"), params={"page": page_number})
        assert (answer.status_code, answer.json()) == (404, {"detail": "Invalid page."})


def test_links_begin_with_the_host_that_the_client_named(emulator: EmulatorProcess) -> None:
    headers = {"Authorization": f"Token {emulator.api_key}", "Host": "rescale.test:99"}
    page = requests.get(address(emulator, "/analyses/?page_size=3&page=2"), headers=headers).json()
    assert page["next"] == "http://rescale.test:99/api/v2/analyses/?page_size=3&page=3"
    assert page["previous"] == "http://rescale.test:99/api/v2/analyses/?page_size=3"


def test_the_tutorials_questions_have_answers(emulator: EmulatorProcess, session: requests.Session) -> None:
    prices = session.get(address(emulator, "/billing/computeprices/")).json()
    assert any(
        one["coreType"] == "granite" and one["planType"].endswith("on-demand") and one["os"] == "linux"
        for one in prices
    )
    analyses = session.get(address(emulator, "/analyses/?page_size=100")).json()["results"]
    versions = {(one["code"], version["versionCode"]) for one in analyses for version in one["versions"]}
    assert {
        ("user_included", "0"),
        ("openfoam", "2.3.0-openmpi"),
        ("ls_dyna", "9.0.0"),
        ("ansys_fluent", "2019r1"),
    } <= versions
    assert session.get(address(emulator, "/users/me/projects/")).json()["count"] > 10


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, len(DATA), 3 * 2**20 + 7])
def test_an_upload_comes_back_whole(emulator: EmulatorProcess, session: requests.Session, size: int) -> None:
    data = (DATA * 4)[:size]
    record = upload(emulator, session, data, "ü.bin")
    assert (record["name"], record["relativePath"], record["decryptedSize"]) == ("ü.bin", "ü.bin", size)
    assert record["fileChecksums"] == [
        {"hashFunction": "sha512", "fileHash": hashlib.sha512(data).hexdigest()}
    ]
    assert record["md5"] == hashlib.md5(data).hexdigest()
    assert session.get(record["downloadUrl"]).content == data
    assert session.get(address(emulator, f"/files/{record['id']}")).json() == record


def test_a_part_may_have_an_odd_content_type(emulator: EmulatorProcess, session: requests.Session) -> None:
    # Client code takes the content type of the part for the place of the file's type.
    part: Any = ("t.txt", b"text", {"type_id": 2})
    answer = session.post(address(emulator, "/files/contents/"), files={"file": part})
    assert (answer.status_code, answer.json()["name"]) == (201, "t.txt")


def test_names_lose_their_folders(emulator: EmulatorProcess, session: requests.Session) -> None:
    assert upload(emulator, session, b"", "../../etc/passwd")["name"] == "passwd"
    assert upload(emulator, session, b"", "C:\\data\\in.txt")["name"] == "in.txt"


def test_uploads_need_their_length_and_their_form(
    emulator: EmulatorProcess, session: requests.Session
) -> None:
    place = address(emulator, "/files/contents/")
    chunked = session.post(
        place, data=iter([b"x"]), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert chunked.status_code == 411
    assert session.post(place, json={}).status_code == 415
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"nothing"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
    ):
        answer = session.post(place, data=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("Multipart form parse error - ")
    nothing = session.post(place, files={"other": (None, "x")})
    assert (nothing.status_code, nothing.json()) == (400, {"file": ["No file was submitted."]})


def test_an_upload_that_breaks_off_leaves_nothing(emulator: EmulatorProcess) -> None:
    blobs = emulator.root / "blobs"
    before = set(blobs.iterdir())
    with socket.create_connection(("127.0.0.1", urlsplit(emulator.base_url).port or 0)) as connection:
        connection.sendall(
            b"POST /api/v2/files/contents/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
            b"Authorization: Token " + emulator.api_key.encode() + b"\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 4_000_000
        )
        wait_for(lambda: set(blobs.iterdir()) != before)
    wait_for(lambda: set(blobs.iterdir()) == before)


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_expect_continue_is_answered(emulator: EmulatorProcess) -> None:
    head = (
        "POST /api/v2/files/contents/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        f"Authorization: Token {emulator.api_key}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nA\r\n--x--\r\n'
    with socket.create_connection(("127.0.0.1", urlsplit(emulator.base_url).port or 0)) as connection:
        connection.settimeout(10)
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (
            "POST /api/v2/jobs/ HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: gzip",
            b"{}",
            400,
        ),
        ("POST /api/v2/jobs/ HTTP/1.1\r\nContent-Type: application/json", b"{", 400),
        ("POST /api/v2/jobs/ HTTP/1.1\r\nTransfer-Encoding: chunked", b"zz\r\n", 400),
        ("GET /api/v2/users/me/ HTTP/1.1\r\nHost: a b", b"", 200),
        ("GET /api/v2/users/me/ HTTP/1.0", b"", 200),
        ("GET http://elsewhere/api/v2/users/me/ HTTP/1.1\r\nHost: x", b"", 200),
        ("NONSENSE", b"", 400),
    ],
)
def test_odd_requests_have_answers(emulator: EmulatorProcess, head: str, body: bytes, status: int) -> None:
    length = "" if "chunked" in head or not body else f"Content-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(emulator.base_url).port or 0)) as connection:
        connection.settimeout(10)
        connection.sendall(
            f"{head}\r\nAuthorization: Token {emulator.api_key}\r\n{length}\r\n".encode() + body
        )
        assert connection.recv(1000).split(b" ")[1] == str(status).encode()
    assert (emulator.root.parent / f"{emulator.root.name}.log").read_text() == ""


@pytest.mark.parametrize("polite", [True, False])
def test_clients_that_leave_are_no_defect(emulator: EmulatorProcess, polite: bool) -> None:
    made = emulator.admin.make_file("left", 30_000_000)
    head = f"Host: x\r\nAuthorization: Token {emulator.api_key}\r\n"
    for request in (
        f"GET /api/v2/files/{made['id']}/contents/ HTTP/1.1\r\n{head}\r\n",
        f"PUT /api/v2/files/contents/ HTTP/1.1\r\n{head}Content-Length: 99\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x",
    ):
        with socket.create_connection(("127.0.0.1", urlsplit(emulator.base_url).port or 0)) as connection:
            if not polite:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request.encode())
            wait_for(lambda: emulator.admin.counters()["live_requests"] > 0)
        wait_for(lambda: emulator.admin.counters()["live_requests"] == 0)
    assert (emulator.root.parent / f"{emulator.root.name}.log").read_text() == ""


@pytest.mark.parametrize(
    ("header", "status", "content"),
    [
        ("bytes=0-0", 206, DATA[:1]),
        ("bytes=5-", 206, DATA[5:]),
        ("bytes=-7", 206, DATA[-7:]),
        (f"bytes=10-{len(DATA) + 1}", 206, DATA[10:]),
        ("bytes=-99999999", 206, DATA),
        ("bytes=7-3", 200, DATA),
        ("bytes=0-1,5-6", 200, DATA),
        ("lines=0-1", 200, DATA),
    ],
)
def test_ranges(
    emulator: EmulatorProcess, session: requests.Session, header: str, status: int, content: bytes
) -> None:
    record = upload(emulator, session)
    answer = session.get(record["downloadUrl"], headers={"Range": header})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers["ETag"] == f'"{record["md5"]}"'
    if status == 206:
        first = DATA.find(content) if len(content) > 1 else 0
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(content) - 1}/{len(DATA)}"


def test_a_range_behind_the_end_is_refused(emulator: EmulatorProcess, session: requests.Session) -> None:
    place = upload(emulator, session)["downloadUrl"]
    for header in (f"bytes={len(DATA)}-", "bytes=-0"):
        answer = session.get(place, headers={"Range": header})
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(DATA)}")
    empty = upload(emulator, session, b"")["downloadUrl"]
    assert session.get(empty, headers={"Range": "bytes=0-9"}).status_code == 416


def test_conditions_of_ranges(emulator: EmulatorProcess, session: requests.Session) -> None:
    record = upload(emulator, session)
    place, tag = record["downloadUrl"], f'"{record["md5"]}"'
    same = session.get(place, headers={"Range": "bytes=0-3", "If-Range": tag})
    other = session.get(place, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)
    assert session.get(place, headers={"If-None-Match": tag}).status_code == 304
    head = session.head(place)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(DATA)), b"")


def test_documents_know_no_ranges(emulator: EmulatorProcess, session: requests.Session) -> None:
    # Client code that lets a Range header slip into all its requests exists.
    answer = session.get(address(emulator, "/users/me/"), headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.json()["email"]) == (200, "demo@example.com")


def test_lines_are_those_of_a_text(emulator: EmulatorProcess, session: requests.Session) -> None:
    text = "eins\nzwei\r\ndrei\u2028vier\nende"
    record = upload(emulator, session, text.encode(), "log.txt")
    answer = session.get(address(emulator, f"/files/{record['id']}/lines/"))
    assert answer.json() == {"lines": ["eins\n", "zwei\r\n", "drei\u2028vier\n", "ende"]}
    binary = upload(emulator, session, b"\x00\xff", "x.bin")
    assert session.get(address(emulator, f"/files/{binary['id']}/lines")).status_code == 400


def test_files_are_searched_ordered_changed_and_deleted(
    emulator: EmulatorProcess, session: requests.Session
) -> None:
    for name in ("Needle-b.txt", "needle-a.txt", "needle-c.dat"):
        upload(emulator, session, b"12"[: len(name) % 2], name)
    place = address(emulator, "/files/")

    def names(**query: str) -> list[str]:
        return [one["name"] for one in session.get(place, params=query).json()["results"]]

    assert names(search="needle") == ["needle-c.dat", "needle-a.txt", "Needle-b.txt"]
    assert names(search="needle TXT") == ["needle-a.txt", "Needle-b.txt"]
    assert names(search="needle", ordering="dateUploaded")[0] == "Needle-b.txt"
    assert names(search="needle", ordering="name")[0] == "Needle-b.txt"
    record = session.get(place, params={"search": "needle-c"}).json()["results"][0]
    own = address(emulator, f"/files/{record['id']}/")
    changed = session.patch(own, json={"name": "thread.dat", "typeId": 2, "owner": "x"}).json()
    assert (changed["name"], changed["relativePath"], changed["typeId"]) == ("thread.dat", "thread.dat", 2)
    refused = session.patch(own, json={"name": "", "typeId": 77})
    assert (refused.status_code, set(refused.json())) == (400, {"name", "typeId"})
    assert session.delete(own).status_code == 204
    for answer in (session.get(own), session.get(own + "contents/"), session.delete(own)):
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    assert names(search="thread") == []


def test_each_user_has_files_of_his_own(emulator: EmulatorProcess, session: requests.Session) -> None:
    place = upload(emulator, session)["downloadUrl"]
    other = {"Authorization": f"Token {emulator.second_key}"}
    assert requests.get(place, headers=other).status_code == 404
    assert requests.get(address(emulator, "/files/"), headers=other).json()["count"] == 0


def test_documents_that_are_none(emulator: EmulatorProcess, session: requests.Session) -> None:
    own = address(emulator, f"/files/{upload(emulator, session)['id']}/")
    headers = {"Content-Type": "application/json"}
    for body, status, words in (
        (b"{", 400, "JSON parse error"),
        (b"[1]", 400, "Expected a dictionary, but got list"),
        (b'{"typeId": NaN}', 400, "JSON parse error"),
        (b"[" * 100_000, 400, "JSON parse error"),
        (b"\xff", 400, "JSON parse error"),
    ):
        answer = session.patch(own, data=body, headers=headers)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert session.patch(own, data=b"x", headers={"Content-Type": "text/csv"}).status_code == 415


def test_old_files_have_no_checksums(emulator: EmulatorProcess, session: requests.Session) -> None:
    made = emulator.admin.make_file("old.bin", 1000, old=True)
    record = session.get(address(emulator, f"/files/{made['id']}/")).json()
    assert "fileChecksums" not in record
    assert record["dateUploaded"].endswith("-07:00")
    content = session.get(record["downloadUrl"]).content
    assert (len(content), hashlib.sha512(content).hexdigest()) == (1000, made["sha512"])


def test_bytes_and_connections_are_counted(emulator: EmulatorProcess) -> None:
    made = emulator.admin.make_file("counted", 100_000, "text")
    emulator.admin.reset_counters()
    port = urlsplit(emulator.base_url).port
    connections = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(3)]
    for one in connections:
        one.request(
            "GET",
            f"/api/v2/files/{made['id']}/contents/",
            headers={"Authorization": f"Token {emulator.api_key}", "Range": "bytes=0-99"},
        )
    assert [len(one.getresponse().read()) for one in connections] == [100, 100, 100]
    counters = emulator.admin.counters()
    for one in connections:
        one.close()
    assert counters["bytes_sent"] == {made["id"]: 300}
    assert counters["peak_connections"] >= 3
    assert counters["by_endpoint"] == {"GET /files/{file}/contents/": 3}
    assert counters["by_scope"] == {"file-access": 3}
    assert counters["by_status"] == {"206": 3}
    assert [one["range"] for one in emulator.admin.requests("/contents/")] == ["bytes=0-99"] * 3


def test_the_admin_plane_says_what_is_wrong(emulator: EmulatorProcess) -> None:
    admin = emulator.admin
    with pytest.raises(AdminRefusedError, match="kind is one of status, reset"):
        admin.add_fault("explode")
    with pytest.raises(AdminRefusedError, match=r"no setting 'sped'.* pace is a number"):
        admin.settings(sped=1, pace="fast")
    with pytest.raises(AdminRefusedError, match="There is no GET /nothing"):
        admin.call("GET", "/nothing")
    with pytest.raises(AdminRefusedError, match="There is no job x"):
        admin.job("x")
    assert requests.get(f"{admin.address}/counters").status_code == 401


def test_a_stream_is_taken_in_constant_memory(emulator: EmulatorProcess, session: requests.Session) -> None:
    def memory() -> int:
        status = Path(f"/proc/{emulator.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    upload(emulator, session)
    before = memory()
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = io.BytesIO(boundary + bytes(60_000_000) + b"\r\n--x--\r\n")
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = session.post(address(emulator, "/files/contents/"), data=body, headers=kind)
    assert answer.json()["decryptedSize"] == 60_000_000
    assert memory() - before < 20_000


def test_contents_can_be_elsewhere(emulator: EmulatorProcess, session: requests.Session) -> None:
    record = upload(emulator, session)
    emulator.admin.settings(redirect_contents=True)
    try:
        moved = session.get(record["downloadUrl"], allow_redirects=False)
        place = moved.headers["Location"]
        assert (moved.status_code, urlsplit(place).hostname) == (302, "localhost")
        # requests takes the key along to the same host only.
        assert session.get(record["downloadUrl"], headers={"Range": "bytes=3-8"}).content == DATA[3:9]
        assert requests.get(place).content == DATA
        key = {"Authorization": f"Token {emulator.api_key}"}
        assert requests.get(place, headers=key).status_code == 400
        assert requests.get(place[:-1] + "x").status_code == 404
    finally:
        emulator.admin.settings(redirect_contents=False)
