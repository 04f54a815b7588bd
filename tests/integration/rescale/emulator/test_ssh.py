# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import paramiko
import pytest
import scp


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "authorized_keys"


@pytest.fixture
async def cluster(make_bench, keys):
    """A bench with a cluster that waits, and where it is."""
    bench = await make_bench(authorized_keys=keys)
    job_id = bench.create("sleep inf", hardware={"coreSummary": {"numberOfNodes": 2}})
    assert bench.life.instances(job_id) == []
    bench.life.submit(job_id)
    await bench.executing(job_id)
    return bench, job_id


def _address(cluster):
    bench, job_id = cluster
    head = bench.life.instances(job_id)[0]
    return {"host": head.public_ip, "port": head.ssh_port, "username": head.username}


def _connect(cluster, key):
    return asyncssh.connect(
        **_address(cluster), client_keys=[key], known_hosts=None, config=None, agent_path=None
    )


async def test_instances_tell_the_head_from_the_others(cluster):
    bench, job_id = cluster
    head, other = bench.life.instances(job_id)
    assert head.role == "MPI_MASTER"
    assert other.role == "MPI_SLAVE"
    assert head.to_document()["sshPort"] == head.ssh_port > 0


async def test_paramiko_and_scp_work_as_in_the_tutorial(cluster, keys, tmp_path):
    own = paramiko.RSAKey.generate(2048)
    keys.write_text(f"# a comment\nrubbish\n{own.get_name()} {own.get_base64()} me@here\n")
    (tmp_path / "numbers").write_text("1\n2\n")

    def use() -> list[str]:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        address = _address(cluster)
        client.connect(address["host"], address["port"], address["username"], pkey=own)
        with client, scp.SCPClient(client.get_transport()) as copier:
            copier.put(str(tmp_path / "numbers"), "work/numbers")
            _, stdout, _ = client.exec_command("cd work && wc -l < numbers | tee count; echo $HOME")
            lines = list(iter(stdout.readline, ""))
            copier.get("work/count", str(tmp_path / "count"))
        return lines

    lines = await asyncio.to_thread(use)
    assert lines[0] == "2\n"
    assert lines[1].endswith("/home\n")
    assert (tmp_path / "count").read_text() == "2\n"


async def test_commands_have_their_streams_and_exit_codes(cluster, keys):
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys.write_bytes(key.export_public_key())
    async with _connect(cluster, key) as connection:
        answer = await connection.run("cat; echo wrong >&2; exit 7", input="given")
        assert (answer.stdout, answer.stderr, answer.exit_status) == ("given", "wrong\n", 7)
        killed = await connection.run("kill -KILL $$")
        assert killed.exit_signal[0] == "KILL"
        shell = await connection.run(input="echo from the shell\n")
        assert shell.stdout == "from the shell\n"
        async with connection.create_process("sleep 1000") as process:
            process.send_signal("TERM")
            assert (await process.wait()).exit_signal[0] == "TERM"


async def test_files_go_both_ways_and_stay_in_the_home(cluster, keys, tmp_path):
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys.write_bytes(key.export_public_key())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data").write_bytes(bytes(300_000))
    async with _connect(cluster, key) as connection:
        await asyncssh.scp(str(tmp_path / "out"), (connection, "work"), recurse=True)
        await asyncssh.scp((connection, "work/out/data"), str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == bytes(300_000)
        home = (await connection.run("pwd")).stdout.strip()
        await asyncssh.scp((connection, f"{home}/work/out/data"), str(tmp_path / "again"))
        for path in ("/etc/passwd", "../order.json"):
            with pytest.raises(asyncssh.SFTPError):
                await asyncssh.scp((connection, path), str(tmp_path / "never"))
    bench, job_id = cluster
    bench.life.stop(job_id)
    await bench.over(job_id)
    assert bench.outputs(job_id)["out/data"] == bytes(300_000)


async def test_only_authorized_keys_of_this_moment_get_in(cluster, keys):
    key = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await _connect(cluster, key)
    keys.write_bytes(key.export_public_key())
    async with _connect(cluster, key):
        pass
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            **{**_address(cluster), "username": "user_nobody"},
            client_keys=[key],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
    keys.write_text("")
    with pytest.raises(asyncssh.PermissionDenied):
        await _connect(cluster, key)


async def test_sessions_end_with_their_cluster(cluster, keys):
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys.write_bytes(key.export_public_key())
    bench, job_id = cluster
    address = _address(cluster)
    connection = await _connect(cluster, key)
    process = await connection.create_process("echo up; exec sleep 1000")
    assert await process.stdout.readline() == "up\n"
    await connection.run("nohup sleep 1000 > /dev/null 2>&1 &")
    bench.life.stop(job_id)
    await bench.over(job_id)
    await connection.wait_closed()
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(**address, client_keys=[key], known_hosts=None, config=None, agent_path=None)
