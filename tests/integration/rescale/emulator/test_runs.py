# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations


async def test_each_row_of_the_parameter_file_is_a_run_of_its_own(bench):
    rows = bench.upload("params.csv", b"x,name\n1.5,first\n22.25,second\n")
    template = bench.upload("case.template", b'x = ${x?string("0.00##")} # ${name}\n')
    job_id = await bench.ran(
        "cat in/case.inp; echo $RESCALE_RUN_ID > number",
        paramFile={"id": rows},
        hardware={"slots": 2},
        analysis={"templateTasks": [{"processedFilename": "in/case.inp", "templateFile": {"id": template}}]},
    )
    assert bench.reason(job_id) == "Completed successfully"
    first, second = bench.state.runs(job_id)
    assert first.variables == [
        {"name": "x", "value": 1.5, "displayValue": "1.5", "isRelative": False},
        {"name": "name", "value": "first", "displayValue": "first", "isRelative": False},
    ]
    assert second.completed is not None
    assert bench.outputs(job_id, "1")["number"] == b"1\n"
    assert bench.outputs(job_id, "2")["number"] == b"2\n"
    assert bench.outputs(job_id, "2")["in/case.inp"] == b"x = 22.25 # second\n"
    assert b"x = 1.50 # first" in bench.outputs(job_id, "1")["process_output.log"]


async def test_one_failed_run_fails_the_study(bench):
    job_id = await bench.ran(
        'test "$RESCALE_VARIABLE_x" != 2',
        jobvariables=[
            {
                "name": "x",
                "variableType": "Param",
                "valueGeneratorType": "FixedRange",
                "valueGeneratorSettings": {"minvalue": 1, "maxvalue": 3, "increment": 1},
            }
        ],
    )
    assert bench.reason(job_id) == "A run failed"
    assert [run.exit_code for run in bench.state.runs(job_id)] == [0, 1, 0]


async def test_a_dry_run_only_fills_the_templates(bench):
    rows = bench.upload("params.csv", b"x\n7\n")
    template = bench.upload("t", b"${x}")
    job_id = await bench.ran(
        "touch never",
        paramFile={"id": rows},
        isTemplateDryRun=True,
        analysis={"templateTasks": [{"processedFilename": "filled", "templateFile": {"id": template}}]},
    )
    outputs = bench.outputs(job_id)
    assert outputs["filled"] == b"7"
    assert "never" not in outputs


async def test_a_study_that_cannot_be_read_fails_with_the_reason_in_its_log(bench):
    rows = bench.upload("params.csv", b"x,y\n1\n")
    template = bench.upload("t", b"a\n${z}")
    bad_rows = await bench.ran("true", paramFile={"id": rows})
    assert bench.reason(bad_rows) == "A run failed"
    assert "Line 2 of the parameter file has 1 values for 2 names." in bench.log(bad_rows)[0]
    task = {"processedFilename": "filled", "templateFile": {"id": template}}
    bad_template = await bench.ran("true", analysis={"templateTasks": [task]})
    assert "Template of filled, line 2: there is no variable 'z'" in bench.log(bad_template)[0]
    escaping = {"processedFilename": "../filled", "templateFile": {"id": template}}
    assert bench.reason(await bench.ran("true", analysis={"templateTasks": [escaping]})) == "A run failed"
