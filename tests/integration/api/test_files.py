# SPDX-License-Identifier: Apache-2.0
"""Files, what happened to them, and their content."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from world import World, interface

from scale_airflow.services.events import user_event
from scale_airflow.services.queue import queue_job
from scale_airflow.store.models import FileAncestry, ScaleFile, utcnow

API = "/scale/api"
CONTENT = b"0123456789"
BEYOND = b'{"detail":"The range lies outside of the file, which has 10 bytes."}'


def moment(day: int) -> datetime:
    return datetime(2015, 1, day, tzinfo=timezone.utc)


@pytest.fixture
def stored(world: World, tmp_path: Path) -> ScaleFile:
    """A source file that really is in its workspace."""
    row = world.source(
        'a "b"\r\nü.html', media_type="text/html", checksum=hashlib.sha256(CONTENT).hexdigest()
    )
    row.file_path = "2015/01/ü.html"
    world.session.commit()
    place = tmp_path / "raw" / row.file_path
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    return row


@pytest.fixture
def product(world: World) -> ScaleFile:
    """A published product."""
    job_type = world.job_type("maker", interface({"input": "file"}), category="x")
    data = {
        "input_data": [{"name": "input", "file_id": world.source().id}],
        "output_data": [{"name": "output", "workspace_id": world.workspace().id}],
    }
    job = queue_job(world.session, job_type=job_type, data=data, event=user_event(world.session, "me"))
    world.session.commit()
    world.dispatch()
    world.run(job)
    return world.session.query(ScaleFile).filter_by(job_id=job.id).one()


class TestContent:
    """GET /files/{id}/content/."""

    def get(
        self, client: httpx.Client, row: ScaleFile, login: dict[str, str], **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get(f"{API}/files/{row.id}/content/", headers={**login, **named})

    def test_whole(self, client: httpx.Client, stored: ScaleFile, viewer: dict[str, str]) -> None:
        answer = self.get(client, stored, viewer, Accept_Encoding="gzip")
        assert (answer.status_code, answer.content) == (200, CONTENT)
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-length"] == "10"
        assert answer.headers["etag"] == f'"{stored.checksum}"'
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["content-disposition"] == (
            "attachment; filename=\"a _b____.html\"; filename*=UTF-8''a%20%22b%22%0D%0A%C3%BC.html"
        )

    @pytest.mark.parametrize(
        ("wanted", "status", "content", "span"),
        [
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=-99", 206, CONTENT, "bytes 0-9/10"),
            ("bytes=9-99999999999999999", 206, b"9", "bytes 9-9/10"),
            ("bytes=10-", 416, BEYOND, "bytes */10"),
            ("bytes=-0", 416, BEYOND, "bytes */10"),
            ("bytes=4-2", 200, CONTENT, None),
            ("bytes=0-1,3-4", 200, CONTENT, None),
            ("lines=0-1", 200, CONTENT, None),
            ("bytes=-", 200, CONTENT, None),
            ("bytes=999999999999999999999999-", 200, CONTENT, None),
        ],
    )
    def test_ranges(
        self,
        client: httpx.Client,
        stored: ScaleFile,
        viewer: dict[str, str],
        wanted: str,
        status: int,
        content: bytes,
        span: str | None,
    ) -> None:
        answer = self.get(client, stored, viewer, Range=wanted)
        assert (answer.status_code, answer.content) == (status, content)
        assert answer.headers.get("content-range") == span

    def test_conditions(self, client: httpx.Client, stored: ScaleFile, viewer: dict[str, str]) -> None:
        etag = f'"{stored.checksum}"'
        assert self.get(client, stored, viewer, If_None_Match=f'"x", W/{etag}').status_code == 304
        assert self.get(client, stored, viewer, If_None_Match="*").content == b""
        assert self.get(client, stored, viewer, If_None_Match='"x"').status_code == 200
        assert self.get(client, stored, viewer, Range="bytes=0-0", If_Range=etag).status_code == 206
        assert self.get(client, stored, viewer, Range="bytes=0-0", If_Range='"x"').status_code == 200

    def test_head(self, client: httpx.Client, stored: ScaleFile, viewer: dict[str, str]) -> None:
        answer = client.head(f"{API}/files/{stored.id}/content", headers=viewer)
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "10", b"")

    def test_gone(
        self, client: httpx.Client, world: World, stored: ScaleFile, viewer: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "raw" / stored.file_path).unlink()
        assert self.get(client, stored, viewer).status_code == 404
        stored.is_deleted = True
        world.session.commit()
        answer = self.get(client, stored, viewer)
        assert answer.status_code == 404
        assert "deleted" in answer.json()["detail"]

    def test_no_path_leaves_the_workspace(
        self, client: httpx.Client, world: World, stored: ScaleFile, viewer: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "raw" / "link").symlink_to(tmp_path / "secret")
        for path in ("../secret", "link", "/etc/passwd", "2015/../../secret"):
            stored.file_path = path
            world.session.commit()
            answer = self.get(client, stored, viewer)
            assert answer.status_code in (404, 503), (path, answer.content)
            assert b"secret" not in answer.content.replace(path.encode(), b"")

    def test_a_workspace_that_is_not_there(
        self, client: httpx.Client, stored: ScaleFile, viewer: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "raw").rename(tmp_path / "elsewhere")
        answer = self.get(client, stored, viewer)
        assert answer.status_code == 503

    def test_a_hostile_media_type(
        self, client: httpx.Client, world: World, stored: ScaleFile, viewer: dict[str, str]
    ) -> None:
        stored.media_type = "text/html\r\nSet-Cookie: x=y"
        world.session.commit()
        answer = self.get(client, stored, viewer)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "set-cookie" not in answer.headers


def test_details(client: httpx.Client, stored: ScaleFile, viewer: dict[str, str]) -> None:
    shown = client.get(f"{API}/files/{stored.id}/", headers=viewer).json()
    (listed,) = client.get(f"{API}/sources/", headers=viewer).json()["results"]
    assert shown == listed
    assert shown["workspace"] == {"id": stored.workspace_id, "name": "raw"}
    for address in ("/files/999/", "/files/-1/content/", "/files/99999999999999999999/", "/files/x/content/"):
        assert client.get(f"{API}{address}", headers=viewer).status_code == 404


def test_url_of_the_workspace(
    client: httpx.Client, world: World, stored: ScaleFile, viewer: dict[str, str]
) -> None:
    world.workspace("raw").base_url = "https://files.example/raw/"
    world.session.commit()
    shown = client.get(f"{API}/files/{stored.id}/", headers=viewer).json()
    assert shown["url"] == "https://files.example/raw/2015/01/%C3%BC.html"


class TestProducts:
    """GET /products/."""

    def test_list(self, client: httpx.Client, product: ScaleFile, viewer: dict[str, str]) -> None:
        (shown,) = client.get(f"{API}/products/", headers=viewer).json()["results"]
        assert shown["id"] == product.id
        assert shown["job_type"]["name"] == "maker"
        assert "interface" not in shown["job_type"]
        assert (shown["job"], shown["job_exe"]) == ({"id": product.job_id}, {"id": product.job_exe_id})
        assert (shown["is_published"], shown["is_operational"]) == (True, True)

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("file_name=output.dat", 1),
            ("file_name=output", 0),
            ("is_operational=true", 1),
            ("is_operational=0", 0),
            ("job_type_name=maker&job_type_name=x", 1),
            ("job_type_category=y", 0),
            ("job_type_id=99", 0),
            ("order=-job_type__name&order=workspace__name&order=job_exe__id", 1),
        ],
    )
    def test_filters(
        self, client: httpx.Client, product: ScaleFile, viewer: dict[str, str], query: str, count: int
    ) -> None:
        assert client.get(f"{API}/products/?{query}", headers=viewer).json()["count"] == count

    def test_unpublished_stay_and_unborn_do_not_show(
        self, client: httpx.Client, world: World, product: ScaleFile, viewer: dict[str, str]
    ) -> None:
        product.is_published, product.unpublished = False, utcnow()
        world.session.commit()
        (shown,) = client.get(f"{API}/products/", headers=viewer).json()["results"]
        assert shown["is_published"] is False
        product.has_been_published = False
        world.session.commit()
        assert client.get(f"{API}/products/", headers=viewer).json()["count"] == 0

    def test_updates(
        self, client: httpx.Client, world: World, product: ScaleFile, viewer: dict[str, str]
    ) -> None:
        product.published, product.unpublished, product.deleted = moment(1), moment(2), moment(3)
        world.session.commit()
        source = world.session.query(FileAncestry).filter_by(descendant_id=product.id).one().ancestor_id

        def updates(query: str) -> list[tuple[str, str]]:
            answer = client.get(f"{API}/products/updates/?{query}", headers=viewer)
            assert answer.status_code == 200, answer.text
            for each in answer.json()["results"]:
                assert [file["id"] for file in each["source_files"]] == [source]
            return [tuple(each["update"].values()) for each in answer.json()["results"]]

        published = ("PUBLISHED", "2015-01-01T00:00:00Z")
        unpublished = ("UNPUBLISHED", "2015-01-02T00:00:00Z")
        deleted = ("DELETED", "2015-01-03T00:00:00Z")
        assert updates("") == [published, unpublished, deleted]
        assert updates("order=-update__when") == [deleted, unpublished, published]
        assert updates("order=update__action") == [deleted, published, unpublished]
        assert updates("order=file_name&order=-update__when&page_size=1&page=2") == [unpublished]
        assert updates("started=2015-01-02T00:00:00Z") == [unpublished, deleted]
        assert updates("ended=2015-01-01T12:00:00Z&job_type_name=maker") == [published]
        assert updates("job_type_name=other") == []


def test_source_updates(client: httpx.Client, world: World, viewer: dict[str, str]) -> None:
    fields: dict[str, Any] = {"created": moment(1), "is_parsed": True, "parsed": moment(2)}
    world.source("parsed.zip", **fields)
    world.source("deleted.zip", created=moment(3), is_deleted=True, deleted=moment(4))

    def updates(query: str) -> list[tuple[str, str]]:
        answer = client.get(f"{API}/sources/updates/?{query}", headers=viewer)
        assert answer.status_code == 200, answer.text
        return [(each["file_name"], each["update"]["action"]) for each in answer.json()["results"]]

    assert updates("") == [
        ("parsed.zip", "CREATED"),
        ("parsed.zip", "PARSED"),
        ("deleted.zip", "CREATED"),
        ("deleted.zip", "DELETED"),
    ]
    assert updates("is_parsed=true&started=2015-01-02T00:00:00Z") == [("parsed.zip", "PARSED")]
    assert updates("file_name=deleted.zip&order=-update__when&page_size=1") == [("deleted.zip", "DELETED")]
