# SPDX-License-Identifier: Apache-2.0
"""Commands and files over SSH, against a real SSH server and real processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest

from scale_airflow.errors import (
    InstallationError,
    InvalidRequest,
    RescaleError,
    RescaleUnauthorized,
    RescaleUnreachable,
)
from scale_airflow.rescale.shell import PrivateKey, ShellAddress, exports, open_shell
from tests.unit.rescale.node import Node, running_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as running:
        yield running


def address(node: Node, host_key: str | None = None) -> ShellAddress:
    return ShellAddress("127.0.0.1", node.port, "user", host_key)


def private(node: Node) -> PrivateKey:
    return PrivateKey(text=node.key.export_private_key().decode())


async def until(condition: Callable[[], bool], patience: float = 10) -> None:
    deadline = asyncio.get_running_loop().time() + patience
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_a_command_runs_in_the_work_folder_and_its_lines_arrive(node: Node) -> None:
    lines: list[str] = []
    command = "pwd; echo 'it''s' \"$HOME\" >&2\nprintf 'no end of line'; exit 3"
    async with open_shell(address(node), private(node)) as shell:
        assert await shell.run("first", command, lines.append) == 3
    home = str(node.home)
    assert lines == [f"{home}/work", f"its {home}", "no end of line"]


async def test_what_a_command_is_given_stands_in_no_log(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with open_shell(address(node), private(node)) as shell:
            assert await shell.run("first", exports({"LICENSE": "SECRET"}) + "true", print) == 0
    assert "SECRET" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("asyncssh")]


async def test_a_command_is_remembered_until_it_is_forgotten(node: Node) -> None:
    async with open_shell(address(node), private(node)) as shell:
        assert await shell.run("same", "exit 1", print) == 1
        assert await shell.run("same", "exit 0", print) == 1
        await shell.forget("same")
        assert await shell.run("same", "exit 0", print) == 0


async def test_a_broken_connection_costs_no_line(node: Node) -> None:
    lines: list[str] = []
    command = (
        "for i in 1 2 3; do echo $i >> count; echo line $i; until [ -e go$i ]; do sleep 0.02; done; done"
    )
    async with open_shell(address(node), private(node)) as shell:
        running = asyncio.create_task(shell.run("long", command, lines.append))
        for number in (1, 2, 3):
            await until(lambda number=number: f"line {number}" in lines)  # type: ignore[misc]
            node.cut()
            (node.home / "work" / f"go{number}").touch()
        assert await running == 0
    assert lines == ["line 1", "line 2", "line 3"]
    assert (node.home / "work" / "count").read_text() == "1\n2\n3\n"


async def test_a_command_goes_on_for_whoever_comes_next(node: Node) -> None:
    command = "echo started >> starts; echo begin; until [ -e go ]; do sleep 0.02; done; echo end"
    seen: list[str] = []
    async with open_shell(address(node), private(node)) as shell:
        running = asyncio.create_task(shell.run("job", command, seen.append))
        await until(lambda: seen == ["begin"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    lines: list[str] = []
    async with open_shell(address(node), private(node)) as shell:
        running = asyncio.create_task(shell.run("job", command, lines.append))
        await until(lambda: lines == ["begin"])
        (node.home / "work" / "go").touch()
        assert await running == 0
    assert lines == ["begin", "end"]
    assert (node.home / "work" / "starts").read_text() == "started\n"


async def test_a_command_is_ended_with_all_it_started(node: Node) -> None:
    lines: list[str] = []
    async with open_shell(address(node), private(node)) as shell:
        running = asyncio.create_task(shell.run("job", "echo up; sleep 600 & sleep 600", lines.append))
        await until(lambda: lines == ["up"])
        await shell.end("job")
        with pytest.raises(RescaleError, match="was killed there"):
            await running
        await shell.end("job")


async def test_using_a_cluster_is_noted(node: Node) -> None:
    used = node.home / ".airflow-cluster-used"
    async with open_shell(address(node), private(node)) as shell:
        await shell.run("job", "true", print)
    assert used.exists()


async def test_files_and_folders_travel_both_ways(node: Node, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "folder" / "in it").mkdir(parents=True)
    (here / "folder" / "in it" / "deep").write_bytes(b"\0deep")
    (here / "a b'c").write_text("odd name")
    (here / "x[1]: *.txt").write_text("odder name")
    back = tmp_path / "to: back"
    async with open_shell(address(node), private(node)) as shell:
        await shell.put([here / "folder", here / "a b'c", here / "x[1]: *.txt"], "work/new one")
        await shell.get(["work/new one/folder", "work/new one/a b'c"], back)
        # Again, over what is there.
        await shell.get(["work/new one/folder"], back)
        with pytest.raises(InvalidRequest, match=r"not here: .*/nowhere"):
            await shell.put([here / "nowhere", here / "folder"], "work")
        with pytest.raises(RescaleError, match="No such file"):
            await shell.get(["work/missing"], back)
    assert (node.home / "work" / "new one" / "a b'c").read_text() == "odd name"
    assert (node.home / "work" / "new one" / "x[1]: *.txt").read_text() == "odder name"
    assert (back / "folder" / "in it" / "deep").read_bytes() == b"\0deep"
    assert sorted(each.name for each in back.iterdir()) == ["a b'c", "folder"]


async def test_the_node_must_stay_the_one_it_was(node: Node) -> None:
    async with open_shell(address(node), private(node)) as shell:
        known = shell.host_key
    assert known.startswith("ssh-ed25519 ")
    async with open_shell(address(node, known), private(node)) as shell:
        assert shell.host_key == known
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(RescaleUnauthorized, match="another than when"):
        async with open_shell(address(node, other), private(node)):
            pass


async def test_a_foreign_key_is_refused_with_what_to_do(node: Node) -> None:
    foreign = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    with pytest.raises(RescaleUnauthorized, match="Job Settings"):
        async with open_shell(address(node), PrivateKey(text=foreign)):
            pass


async def test_a_node_that_does_not_listen_is_given_up(node: Node) -> None:
    await node.close()
    with pytest.raises(RescaleUnreachable, match="does not answer"):
        async with open_shell(address(node), private(node), patience=0):
            pass


def test_a_key_says_what_is_wrong_with_it_and_never_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="ssh-keygen"):
        PrivateKey().load()
    with pytest.raises(InstallationError, match="can't be read: No such file"):
        PrivateKey(path=tmp_path / "missing").load()
    with pytest.raises(InstallationError) as refused:
        PrivateKey(text="SECRET").load()
    assert "SECRET" not in f"{refused.value} {PrivateKey(text='SECRET')!r}"
    written = tmp_path / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(
        str(written), "pkcs8-pem", passphrase="words"
    )
    with pytest.raises(InstallationError, match="of no use"):
        PrivateKey(path=written).load()
    assert PrivateKey(path=written, passphrase="words").load()


@pytest.mark.parametrize("between", ["", " "])
@pytest.mark.parametrize("passphrase", [None, "words"])
def test_a_key_may_have_lost_its_lines_in_a_form(between: str, passphrase: str | None) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = key.export_private_key(passphrase=passphrase).decode()
    found = PrivateKey(text=text.replace("\n", between), passphrase=passphrase).load()
    assert found.export_public_key() == key.export_public_key()


def test_variables_are_quoted() -> None:
    assert exports({"A": "x y'z"}) == "export A='x y'\"'\"'z'\n"
    with pytest.raises(ValueError, match="'a-b'"):
        exports({"a-b": "1"})
