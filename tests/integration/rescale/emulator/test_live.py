# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import zipfile


async def _running(bench, command, **details):
    job_id = bench.create(command, **details)
    bench.life.submit(job_id)
    await bench.executing(job_id)
    return job_id


async def test_a_running_run_shows_its_files(bench):
    job_id = await _running(
        bench,
        "mkdir d; printf 'a\\0b' > d/binary; ln -s /etc/passwd out; "
        "seq 1 30000; touch ready; until [ -e go ]; do sleep 0.02; done; echo end",
    )
    await bench.until(lambda: bench.life.live_file(job_id, "1", "ready"))
    assert await bench.life.directory(job_id, "1") == ["d/binary", "process_output.log", "ready"]
    kind, lines = await bench.life.tail(job_id, "1", "process_output.log", 3)
    assert kind == "text"
    assert [line.partition("]: ")[2] for line in lines] == ["29998\n", "29999\n", "30000\n"]
    assert await bench.life.tail(job_id, "1", "d/binary", 3) == ("binary", [])
    assert await bench.life.tail(job_id, "1", "process_output.log", 0) == ("text", [])
    for path in ("out", "nothing", "../../order.json", "/etc/passwd", "d", "a\0b"):
        assert await bench.life.tail(job_id, "1", path, 3) is None
    assert await bench.life.directory(job_id, "2") is None
    snapshot = await bench.life.snapshot(job_id, "1")
    assert (snapshot.exit_code, snapshot.snapshot_id) == (0, 1)
    record = bench.state.files[snapshot.file_id]
    assert (record.type_id, record.run_id) == (12, "1")
    with zipfile.ZipFile(io.BytesIO(bench.blobs.path(record.blob).read_bytes())) as packed:
        assert "d/binary" in packed.namelist()
    (bench.life.live_file(job_id, "1", "ready").parent / "go").touch()
    await bench.over(job_id)
    assert "d/binary" in bench.outputs(job_id)
    assert not bench.life.is_running(job_id, "1")
    assert await bench.life.tail(job_id, "1", "process_output.log", 3) is None
    assert (await bench.life.snapshot(job_id, "1")).reason == "The run is not running."
    assert bench.life.instances(job_id) == []


async def test_lines_are_written_as_they_come_each_with_its_time(bench):
    job_id = await _running(
        bench, "printf 'half '; until [ -e go ]; do sleep 0.02; done; printf 'whole\\nlast'"
    )
    log = bench.life.live_file(job_id, "1", "process_output.log")
    await bench.until(lambda: log.read_bytes().endswith(b"half "))
    (log.parent / "home/work/go").touch()
    await bench.over(job_id)
    lines = bench.log(job_id)
    assert lines[:3] == ["half whole\n", "last\n", "Exited with code 0\n"]


async def test_a_storage_device_is_mounted_and_keeps_a_jobs_files(bench):
    device = bench.device(walltime=1)
    assert not bench.life.shutdown_device(device)
    assert bench.life.submit_device(device)
    assert not bench.life.submit_device(device)
    await bench.until(lambda: bench.state.latest("device", device) == "Started")
    first = await bench.ran("echo made > file; ls ~/storage_*/jobs/*/run/1", devices=[device])
    assert "file\n" in bench.log(first)
    second = await bench.ran(f"cat ~/storage_{device}/jobs/{first}/run/1/file", devices=[device])
    assert bench.log(second)[0] == "made\n"
    assert bench.life.shutdown_device(device)
    await bench.until(lambda: bench.state.latest("device", device) == "Stopped")
    statuses = [one.status for one in bench.state.history("device", device)]
    assert statuses == ["Starting", "Started", "Stopping", "Stopped"]
    assert not (bench.root / "storage" / device).exists()


async def test_a_storage_device_ends_with_its_walltime(make_bench):
    bench = await make_bench(walltime_hour=0.1)
    device = bench.device(walltime=1)
    bench.life.submit_device(device)
    await bench.until(lambda: bench.state.latest("device", device) == "Stopped")
