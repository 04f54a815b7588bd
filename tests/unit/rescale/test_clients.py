# SPDX-License-Identifier: Apache-2.0
"""Both clients against a real server: what they send, what they try again, what they say about errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.rescale.faces import QUICK, Face, face
from unit.rescale.scripted import KEY, Raw, Seen, Server, answer, certificate, page, scripted

from scale_airflow.errors import (
    InstallationError,
    InvalidRequest,
    RescaleBadAnswer,
    RescaleError,
    RescaleNotFound,
    RescaleRefused,
    RescaleServerError,
    RescaleThrottled,
    RescaleUnauthorized,
    RescaleUncertain,
    RescaleUnreachable,
)
from scale_airflow.rescale import AsyncRescaleClient, Credentials, RateBuckets, Scope, endpoints
from scale_airflow.rescale.calls import Call

ME = {"email": "a@example.org"}


def test_sends_the_key_and_reuses_the_connection(client: Face, server: Server) -> None:
    server.on("GET users/me/", answer(ME))
    for _ in range(3):
        assert client.send(endpoints.get_me()).email == "a@example.org"
    assert {seen.headers["authorization"] for seen in server.seen} == {f"Token {KEY}"}
    assert server.connections == 1
    assert KEY not in repr(client)


def test_a_key_that_is_a_web_token_goes_as_bearer(server: Server) -> None:
    server.on("GET users/me/", answer(ME))
    client = face("sync", server.url, "eyJhbGciOi.eyJzdWIi.c2ln")
    client.send(endpoints.get_me())
    client.close()
    assert server.seen[0].headers["authorization"].startswith("Bearer eyJ")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_may_be_repeated_is_tried_again(client: Face, server: Server, status: int) -> None:
    server.on("GET jobs/J/", Raw(status), Raw(status), answer({"id": "J"}))
    assert client.send(endpoints.get_job("J")).id == "J"
    assert len(server.seen) == 3


def test_a_server_that_fails_for_good(client: Face, server: Server) -> None:
    server.on("GET jobs/J/", answer({"detail": "database is away"}, 500))
    with pytest.raises(RescaleServerError, match=r"500: database is away \(6 attempts\)") as caught:
        client.send(endpoints.get_job("J"))
    assert len(server.seen) == QUICK.tries
    assert (caught.value.status, caught.value.job_id, caught.value.detail) == (500, "J", "database is away")


@pytest.mark.parametrize(
    "broken", [Raw(500), Raw(503, headers={"Retry-After": "1"}), Raw(hang_up=True), Raw(200, b"x" * 9, cut=4)]
)
@pytest.mark.parametrize("call", [endpoints.create_job({"name": "x"}), endpoints.submit_job("J")])
def test_what_must_not_be_repeated_is_not(client: Face, server: Server, call: Call[Any], broken: Raw) -> None:
    server.on("POST jobs/", broken)
    server.on("POST jobs/J/submit/", broken)
    with pytest.raises(RescaleUncertain, match="not known whether"):
        client.send(call)
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"<html>", b'{"id": ', b"", b"[]", b'{"name": "x"}', b'"\xff"', b"NaN"])
def test_a_created_job_whose_id_is_lost_is_uncertain(client: Face, server: Server, body: bytes) -> None:
    server.on("POST jobs/", Raw(201, body))
    with pytest.raises(RescaleUncertain):
        client.send(endpoints.create_job({"name": "x"}))
    assert len(server.seen) == 1


def test_throttled_requests_are_repeated_whatever_they_are(client: Face, server: Server) -> None:
    server.on("POST jobs/J/submit/", Raw(429, headers={"Retry-After": "0"}), Raw(200))
    client.send(endpoints.submit_job("J"))
    assert len(server.seen) == 2


def test_too_long_a_throttling_is_an_error(client: Face, server: Server) -> None:
    server.on("GET users/me/", answer({"detail": "Request was throttled."}, 429, Retry_After="3000"))
    with pytest.raises(
        RescaleThrottled, match="too many requests for Rescale: Request was throttled"
    ) as caught:
        client.send(endpoints.get_me())
    assert caught.value.retry_after == 3000
    assert len(server.seen) == 1


def test_a_date_to_retry_after_counts_from_the_servers_clock(client: Face, server: Server) -> None:
    dates = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT"}
    server.on("GET users/me/", Raw(503, headers=dates))
    with pytest.raises(RescaleServerError):
        client.send(endpoints.get_me())
    dates = {**dates, "Retry-After": "Sun, 22 Nov 2026 10:00:00 GMT"}
    server.on("GET users/me/", Raw(503, headers=dates), answer(ME))
    assert client.send(endpoints.get_me())


def test_requests_wait_for_their_bucket(server: Server) -> None:
    server.on("GET users/me/", answer(ME))
    rates = RateBuckets({Scope.USER: 60_000})
    while rates.reserve(Scope.USER) < 0.1:
        pass
    client = face("sync", server.url, KEY, rates=rates)
    began = time.monotonic()
    client.send(endpoints.get_me())
    assert time.monotonic() - began >= 0.1
    client.close()


def test_a_scope_is_closed_also_by_who_gives_up(server: Server) -> None:
    rates = RateBuckets({})
    client = face("sync", server.url, KEY, rates=rates)
    server.on("GET users/me/", Raw(429, headers={"Retry-After": "3000"}))
    with pytest.raises(RescaleThrottled):
        client.send(endpoints.get_me())
    assert rates.reserve(Scope.USER) > 2990
    client.close()


def test_a_throttled_scope_makes_all_its_calls_wait(server: Server) -> None:
    rates = RateBuckets({})
    client = face("sync", server.url, KEY, rates=rates)
    server.on("GET users/me/", Raw(429, headers={"Retry-After": "0.3"}), answer(ME))
    began = time.monotonic()
    client.send(endpoints.get_me())
    assert time.monotonic() - began >= 0.3
    rates.throttled(Scope.USER, 5000)
    with pytest.raises(RescaleThrottled, match="limit of requests \\(user\\)"):
        client.send(endpoints.get_me())
    assert len(server.seen) == 2
    client.close()


def test_no_server(client: Face, server: Server) -> None:
    server.close()
    for call in (endpoints.get_me(), endpoints.submit_job("J")):
        with pytest.raises(RescaleUnreachable, match=r"no connection could be made \(.*(refused|failed)"):
            client.send(call)


def test_a_connection_that_could_not_be_made_is_tried_again_also_for_a_submit(server: Server) -> None:
    policy = replace(QUICK, tries=40, first_pause=0.2, pause_cap=0.2, draw=lambda: 1.0)
    port = int(server.url.rpartition(":")[2])
    server.close()
    client = face("sync", server.url, KEY, policy=policy)
    revived: list[Server] = []

    def revive() -> None:
        again = Server(port)
        again.on("POST jobs/J/submit/", Raw(200))
        revived.append(again)

    timer = threading.Timer(0.3, revive)
    timer.start()
    client.send(endpoints.submit_job("J"))
    timer.join()
    assert len(revived[0].seen) == 1
    revived[0].close()
    client.close()


def test_a_server_that_never_answers(server: Server) -> None:
    never = threading.Event()
    server.on("GET users/me/", Raw(wait_for=never))
    server.on("POST jobs/", Raw(wait_for=never))
    for kind in ("sync", "async"):
        client = face(kind, server.url, KEY, policy=replace(QUICK, read_timeout=0.1, tries=2))
        with pytest.raises(RescaleUnreachable, match=r"did not answer in time \(2 attempts\)"):
            client.send(endpoints.get_me())
        with pytest.raises(RescaleUncertain, match="did not answer in time"):
            client.send(endpoints.create_job({}))
        client.close()
    never.set()


def test_half_answers_are_tried_again(client: Face, server: Server) -> None:
    body = json.dumps({"id": "J", "name": "x" * 500}).encode()
    server.on("GET jobs/J/", Raw(200, body, cut=100), Raw(hang_up=True), Raw(200, body))
    assert client.send(endpoints.get_job("J")).name == "x" * 500


def test_garbage_is_tried_again_once(client: Face, server: Server) -> None:
    server.on("GET jobs/J/", Raw(200, b"<html>login"), answer({"id": "J"}))
    assert client.send(endpoints.get_job("J")).id == "J"
    server.on("GET jobs/J/", Raw(200, b"<html>login"))
    server.seen.clear()
    with pytest.raises(RescaleBadAnswer, match=r"not JSON\. Is this the address of Rescale"):
        client.send(endpoints.get_job("J"))
    assert len(server.seen) == 2


def test_an_answer_that_is_compressed_wrong(client: Face, server: Server) -> None:
    server.on("GET users/me/", Raw(200, b"plain", {"Content-Encoding": "gzip"}), answer(ME))
    assert client.send(endpoints.get_me())


def test_no_session_beside_the_key(client: Face, server: Server) -> None:
    server.on("GET users/me/", answer(ME, Set_Cookie="sessionid=abc; Path=/"))
    for _ in range(2):
        client.send(endpoints.get_me())
    assert "cookie" not in server.seen[1].headers


def test_a_log_tells_why_it_takes_so_long(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.on("GET users/me/", Raw(500), Raw(hang_up=True), Raw(200, b"<"), answer(ME))
    client = face("sync", server.url, KEY)
    with caplog.at_level("DEBUG"):
        client.send(endpoints.get_me())
    client.close()
    assert [record.getMessage() for record in caplog.records if record.name == "scale_airflow.rescale"] == [
        "GET users/me/: Rescale answered 500; again in 0.0 s",
        "GET users/me/: the connection broke before the answer was whole; again in 0.0 s",
        "GET users/me/: the answer is not JSON; again in 0.0 s",
    ]
    assert KEY not in caplog.text


def test_an_answer_without_end(server: Server) -> None:
    server.on("GET users/me/", Raw(200, b'"' + b"x" * 100_000 + b'"'))
    for kind in ("sync", "async"):
        client = face(kind, server.url, KEY, policy=replace(QUICK, max_answer=10_000, tries=2))
        with pytest.raises(RescaleUnreachable, match="answer is too long"):
            client.send(endpoints.get_me())
        client.close()


def test_compressed_answers_are_read(client: Face, server: Server) -> None:
    body = gzip.compress(json.dumps(ME).encode())
    server.on("GET users/me/", Raw(200, body, {"Content-Encoding": "gzip"}))
    assert client.send(endpoints.get_me()).email == "a@example.org"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, RescaleUnauthorized), (403, RescaleUnauthorized), (404, RescaleNotFound)]
)
def test_kinds_of_refusals(client: Face, server: Server, status: int, kind: type[RescaleError]) -> None:
    server.on("GET jobs/J/", answer({"detail": "No."}, status))
    with pytest.raises(kind) as caught:
        client.send(endpoints.get_job("J"))
    assert (caught.value.status, caught.value.job_id, caught.value.detail) == (status, "J", "No.")
    assert len(server.seen) == 1


def test_a_refusal_names_each_field(client: Face, server: Server) -> None:
    body = {
        "jobanalyses": [{}, {"hardware": {"coresPerSlot": ["1 is not one of 2, 4."]}}],
        "name": ["Missing."],
    }
    server.on("POST jobs/", answer(body, 400))
    with pytest.raises(RescaleRefused) as caught:
        client.send(endpoints.create_job({}))
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        ("/jobanalyses/1/hardware/coresPerSlot", "1 is not one of 2, 4."),
        ("/name", "Missing."),
    ]
    assert "/name: Missing" in str(caught.value)


def test_nothing_in_an_errors_chain_holds_the_key(client: Face, server: Server) -> None:
    server.on("GET users/me/", Raw(hang_up=True))
    server.on("GET jobs/J/", answer({"detail": f"Token {KEY} is bad"}, 400))
    server.on("POST jobs/", Raw(hang_up=True))
    for call in (endpoints.get_me(), endpoints.get_job("J"), endpoints.create_job({"secret": "s3cr3t"})):
        with pytest.raises(RescaleError) as caught:
            client.send(call)
        error = caught.value
        assert (error.__cause__, error.__context__) == (None, None)
        text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert KEY not in text
        assert "s3cr3t" not in text


def test_statuses_that_time_out_are_asked_for_patiently(client: Face, server: Server) -> None:
    rows = [{"status": "Pending", "statusDate": "2026-01-01T00:00:00"}]
    server.on("GET jobs/J/statuses/", *([Raw(504)] * 12), page(*rows))
    assert [row.status for row in client.all(endpoints.list_statuses("J"))] == ["Pending"]


def test_cluster_statuses_before_there_is_a_cluster(client: Face, server: Server) -> None:
    assert client.all(endpoints.list_cluster_statuses("J")) == []
    assert len(server.seen) == 1


def test_what_a_lost_answer_has_deleted_is_deleted(client: Face, server: Server) -> None:
    server.on("DELETE jobs/J/", Raw(hang_up=True), answer({"detail": "Not found."}, 404))
    client.send(endpoints.delete_job("J"))
    server.on("DELETE jobs/J/", answer({"detail": "Not found."}, 404))
    with pytest.raises(RescaleNotFound):
        client.send(endpoints.delete_job("J"))


def test_redirects_of_get_on_the_same_server(client: Face, server: Server) -> None:
    server.on("GET users/me/", Raw(301, headers={"Location": "/api/v2/users/you/"}))
    server.on("GET users/you/", answer(ME))
    assert client.send(endpoints.get_me()).email == "a@example.org"
    server.on("GET users/me/", Raw(302, headers={"Location": "/api/v2/users/me/"}))
    with pytest.raises(RescaleBadAnswer, match="redirects without end"):
        client.send(endpoints.get_me())


def test_redirects_elsewhere_are_not_followed(client: Face, server: Server) -> None:
    for location in ("http://127.0.0.1:1/api/v2/users/me/", "https://localhost:1/", "", "http://["):
        server.on("GET users/me/", Raw(302, headers={"Location": location}))
        server.on("POST jobs/", Raw(307, headers={"Location": "/api/v2/jobs/"}))
        for call in (endpoints.get_me(), endpoints.create_job({})):
            with pytest.raises(RescaleBadAnswer, match="redirects"):
                client.send(call)


def test_bytes_come_as_they_are(client: Face, server: Server) -> None:
    def ranged(seen: Seen) -> Raw:
        assert seen.headers["accept-encoding"] == "identity"
        return Raw(206, b"bc") if seen.headers.get("range") == "bytes=1-2" else Raw(200, b"abcd")

    server.on("GET files/F/contents/", ranged)
    assert client.send(endpoints.get_file_contents("F")) == b"abcd"
    assert client.send(endpoints.get_file_contents("F", first=1, last=2)) == b"bc"


def test_a_body_that_is_not_json_is_ours_to_mend(client: Face) -> None:
    with pytest.raises(InvalidRequest, match="can't be written as JSON"):
        client.send(endpoints.create_job({"x": {1, 2}}))


def test_many_threads_share_a_client(server: Server) -> None:
    server.on("GET users/me/", answer(ME))
    client = face("sync", server.url, KEY, max_concurrency=3)

    def ask() -> None:
        for _ in range(20):
            client.send(endpoints.get_me())

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    # None was repeated, as it would be if another thread had closed its connection.
    assert len(server.seen) == 400
    assert server.connections <= 3


def test_a_submit_is_not_lost_in_an_old_connection(client: Face, server: Server) -> None:
    def serve(seen: Seen) -> Raw:
        old = {each.connection for each in server.seen[:-1]}
        return Raw(hang_up=True) if seen.connection in old else Raw(200)

    server.on("GET users/me/", answer(ME))
    server.on("POST jobs/J/submit/", serve)
    for _ in range(2):
        client.send(endpoints.get_me())
        client.send(endpoints.submit_job("J"))
    assert server.connections == 3


async def test_many_tasks_share_a_client(server: Server) -> None:
    server.on("GET users/me/", answer(ME))
    credentials = Credentials.of(server.url, KEY)
    async with AsyncRescaleClient(credentials, rates=RateBuckets({}), max_concurrency=3) as client:
        await asyncio.gather(*(client.send(endpoints.get_me()) for _ in range(200)))
    assert len(server.seen) == 200
    assert server.connections <= 3


def test_a_signal_is_handled_in_the_midst_of_a_request(server: Server) -> None:
    """A task that is killed stops its job with the client that waits for an answer and has no turn left."""
    client = face("sync", server.url, KEY, max_concurrency=1)
    going_on = threading.Event()

    def stop(signum: int, frame: Any) -> None:
        client.send(endpoints.stop_job("J"))
        going_on.set()

    def asked(seen: Seen) -> Raw:
        os.kill(os.getpid(), signal.SIGUSR1)
        return Raw(200, json.dumps(ME).encode(), wait_for=going_on)

    server.on("GET users/me/", asked)
    server.on("POST jobs/J/stop/", Raw(202))
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        assert client.send(endpoints.get_me())
    finally:
        signal.signal(signal.SIGUSR1, before)
        client.close()
    assert sorted(server.requests()) == ["GET users/me/", "POST jobs/J/stop/"]


def test_a_closed_client_says_so(server: Server) -> None:
    client = face("sync", server.url, KEY)
    going_on = threading.Event()
    server.on("GET users/me/", Raw(200, json.dumps(ME).encode(), wait_for=going_on))
    thread = threading.Thread(target=client.send, args=(endpoints.get_me(),))
    thread.start()
    give_up = time.monotonic() + 20
    while not server.seen and time.monotonic() < give_up:
        time.sleep(0.001)
    client.close()
    going_on.set()
    thread.join()
    with pytest.raises(RuntimeError, match="closed"):
        client.send(endpoints.get_me())
    with pytest.raises(InstallationError, match="max_concurrency"):
        face("sync", server.url, KEY, max_concurrency=0)


def test_a_proxy_that_does_not_let_through(server: Server) -> None:
    server.script["CONNECT 127.0.0.1:1"] = [Raw(407)]
    for kind in ("sync", "async"):
        client = face(kind, "https://127.0.0.1:1", KEY, proxies=server.url)
        # Nothing has arrived at Rescale, so that a create is not uncertain.
        with pytest.raises(RescaleUnreachable, match=r"no connection could be made .*407"):
            client.send(endpoints.create_job({}))
        client.close()


def test_a_request_that_the_server_did_not_wait_for(client: Face, server: Server) -> None:
    server.on("POST jobs/", Raw(408))
    server.on("GET users/me/", Raw(408), answer(ME))
    assert client.send(endpoints.get_me())
    with pytest.raises(RescaleUncertain):
        client.send(endpoints.create_job({}))


def test_a_proxy_is_asked(server: Server) -> None:
    server.script["GET http://rescale.example.org/api/v2/users/me/"] = [answer(ME)]
    for kind in ("sync", "async"):
        client = face(kind, "http://rescale.example.org", KEY, proxies={"http": server.url})
        assert client.send(endpoints.get_me()).email == "a@example.org"
        client.close()


@pytest.mark.parametrize("proxies", ["proxy:3128", {"ftp": "http://p"}, {"https": 5}])
def test_proxies_that_are_none(proxies: Any) -> None:
    with pytest.raises(InstallationError, match="proxies"):
        face("sync", "eu", KEY, proxies=proxies)


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    with scripted(tls=own) as server:
        server.on("GET users/me/", answer(ME))
        for kind in ("sync", "async"):
            client = face(kind, server.url, KEY, verify=True)
            with pytest.raises(RescaleUnreachable, match=r"certificate is not trusted.*verify"):
                client.send(endpoints.get_me())
            client.close()
            client = face(kind, server.url, KEY, verify=str(own))
            assert client.send(endpoints.get_me()).email == "a@example.org"
            client.close()
    with pytest.raises(InstallationError, match="can't be read"):
        face("sync", "eu", KEY, verify=str(tmp_path / "nowhere.pem"))
