# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import io
import zipfile

from scale_airflow.rescale.emulator.records import CLUSTER


async def test_a_job_runs_its_command_and_keeps_what_it_made(bench):
    data = bench.upload("numbers.txt", b"1\n2\n")
    script = bench.upload("sum.sh", b"#!/bin/sh\nawk '{s+=$1} END {print s}' numbers.txt > sum.txt\n")
    job_id = await bench.ran(
        "./sum.sh; mkdir deep; echo x > deep/er; echo $RESCALE_JOB_ID $RESCALE_CORES_PER_SLOT $COLOUR; pwd",
        inputs=[{"id": data}, {"id": script}],
        analysis={"envVars": {"COLOUR": "blue"}},
    )
    assert bench.statuses(job_id) == ["Pending", "Queued", "Started", "Validated", "Executing", "Completed"]
    assert bench.reason(job_id) == "Completed successfully"
    assert bench.statuses(job_id, CLUSTER) == [
        "Not Started",
        "Starting",
        "Started",
        "Stop Requested",
        "Stopping",
        "Stopped",
    ]
    outputs = bench.outputs(job_id)
    assert outputs.keys() == {"sum.txt", "deep/er", "process_output.log"}
    assert outputs["sum.txt"] == b"3\n"
    by_path = {one.relative_path: one for one in bench.state.output_files(job_id)}
    assert by_path["sum.txt"].sha512 == hashlib.sha512(b"3\n").hexdigest()
    assert by_path["sum.txt"].md5 == hashlib.md5(b"3\n").hexdigest()
    assert by_path["deep/er"].name == "er"
    lines = bench.log(job_id)
    assert lines[0] == f"{job_id} 2 blue\n"
    assert lines[1].endswith("/home/work\n")
    assert lines[2] == "Exited with code 0\n"
    assert len(lines) == 4
    (run,) = bench.state.runs(job_id)
    assert run.exit_code == 0
    assert run.started < run.completed
    assert bench.state.jobs[job_id].paid_runs == 1
    assert not (bench.root / "work" / job_id).exists()


async def test_a_failed_command_completes_the_job_with_a_reason(bench):
    job_id = await bench.ran("echo before; ls /nowhere; exit 3", "echo never")
    assert bench.statuses(job_id)[-1] == "Completed"
    assert bench.reason(job_id) == "A run failed"
    lines = bench.log(job_id)
    assert lines[0] == "before\n"
    assert "No such file" in lines[1]
    assert lines[2] == "Exited with code 3\n"
    assert len(lines) == 4
    assert bench.state.run(job_id, "1").exit_code == 3


async def test_analyses_run_in_order_with_the_commands_around_them(bench):
    script = bench.upload("before.sh", b"echo prepared")
    job_id = await bench.ran(
        "echo main >> order",
        "# ",
        analysis={
            "preProcessScript": {"id": script},
            "preProcessScriptCommand": "bash before.sh >> order",
            "postProcessScriptCommand": "echo after >> order",
        },
    )
    assert bench.reason(job_id) == "Completed successfully"
    assert bench.outputs(job_id)["order"] == b"prepared\nmain\nafter\nprepared\nafter\n"


async def test_archives_are_unpacked_unless_told_otherwise(bench):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("case/Allrun", "#!/bin/sh\necho ran\n")
        archive.writestr("../escaped", "x")
    zipped = bench.upload("case.zip", packed.getvalue())
    plain = bench.upload("plain.zip", packed.getvalue().replace(b"case/", b"kase/"))
    job_id = await bench.ran(
        "./case/Allrun; ls; ls ..", inputs=[{"id": zipped}, {"id": plain, "decompress": False}]
    )
    lines = bench.log(job_id)
    text = bench.outputs(job_id)["process_output.log"].decode()
    assert "left out '../escaped'" in text
    assert [line for line in lines if line.strip()][:5] == [
        "ran\n",
        "case\n",
        "case.zip\n",
        "plain.zip\n",
        "process_output.log\n",
    ]
    assert bench.reason(job_id) == "Completed successfully"
    assert bench.outputs(job_id).keys() == {"process_output.log"}


async def test_changed_inputs_are_outputs_and_untouched_ones_are_not(bench):
    first, second = bench.upload("first", b"1"), bench.upload("second", b"2")
    job_id = await bench.ran(
        "echo more >> first; rm -f process_output.log; ln -s first third; ln -s /etc/passwd fourth",
        inputs=[{"id": first}, {"id": second}],
    )
    outputs = bench.outputs(job_id)
    assert outputs.keys() == {"first", "third", "process_output.log"}
    assert outputs["first"] == outputs["third"] == b"1more\n"
    assert bench.blobs.path(bench.state.files[first].blob).read_bytes() == b"1"


async def test_a_deleted_input_fails_the_run_with_the_reason_in_the_log(bench):
    from dataclasses import replace

    gone = bench.upload("gone", b"1")
    job_id = bench.create("cat gone", inputs=[{"id": gone}])
    bench.state.put(replace(bench.state.files[gone], is_deleted=True))
    bench.life.submit(job_id)
    await bench.over(job_id)
    assert bench.reason(job_id) == "A run failed"
    assert f"Input file {gone} was deleted." in bench.log(job_id)[0]


async def test_the_jobs_own_key_is_good_while_it_runs(bench):
    job_id = bench.create("echo $RESCALE_API_KEY; until [ -e go ]; do sleep 0.02; done")
    bench.life.submit(job_id)
    await bench.executing(job_id)
    (key,) = bench.state.keys.values()
    assert key.active
    assert key.job_id == job_id
    bench.life.live_file(job_id, "1", "process_output.log").parent.joinpath("home/work/go").touch()
    await bench.over(job_id)
    (key,) = bench.state.keys.values()
    assert not key.active
    assert bench.log(job_id)[0] == f"{key.key_text}\n"


async def test_stop_lets_the_command_end_in_order(bench):
    job_id = bench.create("trap 'echo saved > state; exit 0' TERM; echo up; while :; do sleep 0.02; done")
    bench.life.submit(job_id)
    await bench.executing(job_id)
    await bench.until(lambda: b"up" in bench.life.live_file(job_id, "1", "process_output.log").read_bytes())
    assert bench.life.stop(job_id)
    assert bench.statuses(job_id)[-1] == "Stopping"
    await bench.over(job_id)
    assert bench.statuses(job_id)[-2:] == ["Stopping", "Completed"]
    assert bench.reason(job_id) == "Stopped by user"
    assert bench.outputs(job_id)["state"] == b"saved\n"
    assert not bench.life.stop(job_id)


async def test_a_deaf_command_is_killed_and_so_is_all_it_started(bench):
    job_id = bench.create("trap '' TERM; setsid sleep 1000 & env -i setsid sleep 1000 & echo up; sleep 1000")
    bench.life.submit(job_id)
    await bench.executing(job_id)
    await bench.until(lambda: b"up" in bench.life.live_file(job_id, "1", "process_output.log").read_bytes())
    assert bench.life.force_stop(job_id)
    await bench.over(job_id)
    assert bench.statuses(job_id)[-2:] == ["Force Stop", "Completed"]
    assert bench.state.run(job_id, "1").exit_code == 137


async def test_one_run_can_be_stopped(bench):
    job_id = bench.create("touch made; sleep inf")
    bench.life.submit(job_id)
    await bench.executing(job_id)
    await bench.until(lambda: bench.life.live_file(job_id, "1", "made"))
    assert bench.life.stop_run(job_id, "1")
    assert not bench.life.stop_run(job_id, "2")
    await bench.over(job_id)
    assert bench.reason(job_id) == "A run failed"
    assert "made" in bench.outputs(job_id)


async def test_walltime_ends_a_job(make_bench):
    bench = await make_bench(walltime_hour=0.2)
    job_id = await bench.ran("echo begun; sleep inf", hardware={"walltime": 1})
    assert bench.statuses(job_id)[-2:] == ["Stopping", "Completed"]
    assert bench.reason(job_id) == "Walltime limit reached"
    assert bench.log(job_id)[0] == "begun\n"


async def test_a_job_stopped_before_it_is_validated_never_completes(bench):
    job_id = bench.create("echo never")
    bench.clock.pace = 10.0
    bench.life.submit(job_id)
    assert bench.life.stop(job_id)
    bench.clock.pace = 0.01
    await bench.over(job_id)
    assert bench.statuses(job_id) == ["Pending"]
    assert bench.statuses(job_id, CLUSTER) == ["Not Started", "Stop Requested", "Stopped"]
    assert bench.state.runs(job_id) == []


async def test_a_job_stopped_before_it_executes_is_completed_without_a_run(bench):
    job_id = bench.create("echo never", scenario="waiting-for-cluster:1000")
    bench.life.submit(job_id)
    await bench.until(lambda: "Waiting for Cluster" in bench.statuses(job_id))
    bench.life.stop(job_id)
    await bench.over(job_id)
    assert bench.statuses(job_id)[-3:] == ["Waiting for Cluster", "Stopping", "Completed"]
    assert bench.state.jobs[job_id].paid_runs == 0


async def test_a_submitted_job_is_not_submitted_again(bench):
    job_id = await bench.ran("true")
    assert not bench.life.submit(job_id)
    assert bench.statuses(job_id).count("Pending") == 1


async def test_a_command_that_cannot_be_started_says_why(bench):
    first = await bench.ran("echo a\0b")
    assert bench.log(first)[0] == "The command can't be started: embedded null byte.\n"
    assert bench.state.run(first, "1").exit_code == 126
    second = await bench.ran("true", analysis={"envVars": {"A=B": "1"}})
    assert "illegal environment variable name" in bench.log(second)[0]
    assert bench.reason(second) == "A run failed"


async def test_an_error_of_the_emulator_ends_the_job_and_is_told(bench, caplog):
    job_id = await bench.ran("true", hardware={"walltime": "long"})
    assert bench.statuses(job_id)[-2:] == ["Stopping", "Completed"]
    assert bench.reason(job_id) == "The emulator failed; its log says why"
    assert f"The course of job {job_id} broke." in caplog.text
