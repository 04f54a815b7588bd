# SPDX-License-Identifier: Apache-2.0
"""The command of a remote job, run by a real bash in a folder as Rescale would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from unit.execution.fake_runtime import make_order, stored_file

from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.errors import ExecutionFailure
from scale_airflow.execution.backends.base import JobRun
from scale_airflow.execution.backends.rescale_command import (
    ENDING,
    STDERR,
    STDOUT,
    RemoteEnding,
    RemoteInput,
    place_of,
    remote_command,
)
from scale_airflow.execution.command import build_arguments, substitution_values
from scale_airflow.execution.order import ExecutionOrder, OrderInput
from scale_airflow.execution.staging import Scratch, stage_inputs
from scale_airflow.workspaces.mounts import broker_for

SHOW = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "stdin": sys.stdin.read(),
  "secret": os.environ.get("SECRET"), "files": {
    os.path.realpath(each): open(each).read() for each in sys.argv[1:] if os.path.isfile(each)},
  "folders": {each: sorted(os.listdir(each)) for each in sys.argv[1:] if os.path.isdir(each)}}))
print("to stderr", file=sys.stderr)
"""


class Far:
    """A folder of a machine far away, whose name holds all that could go wrong."""

    def __init__(self, root: Path):
        self.root = root
        self.folder = root / "work of 'a' $HOME \"user\""
        self.folder.mkdir()

    def order(self, arguments: str, program: str = SHOW, **changes: Any) -> ExecutionOrder:
        (self.root / "job.py").write_text(program)
        return make_order(self.root, f"{sys.executable} {self.root}/job.py", arguments, **changes)

    def job_run(self, order: ExecutionOrder) -> JobRun:
        interface = JobInterface.parse(order.interface)
        scratch = Scratch(self.root / "scratch", order.execution_id)
        broker = broker_for(order.workspaces[0].configuration, mounts={}, allowed_roots=(self.root,))
        staged = stage_inputs(order, scratch, {1: broker})
        values = substitution_values(order, scratch, staged)
        return JobRun(order, interface, scratch, staged, tuple(build_arguments(interface, values)))

    def run(self, order: ExecutionOrder, **variables: str) -> subprocess.CompletedProcess[str]:
        run = self.job_run(order)
        inputs = []
        for number, file in enumerate(run.staged.files):
            name = f"in{number} $x'"
            shutil.copy(file.source, self.folder / name)
            inputs.append(RemoteInput(name, place_of(run, file.target)))
        return subprocess.run(
            ["bash", "-c", remote_command(run, inputs, variables)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def shown(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / STDOUT).read_text()))

    def ending(self) -> RemoteEnding:
        found = RemoteEnding.parse((self.folder / ENDING).read_text())
        assert found is not None
        return found


@pytest.fixture
def far(tmp_path: Path) -> Far:
    return Far(tmp_path)


def test_inputs_are_where_scale_puts_them_and_paths_are_those_of_the_machine(far: Far) -> None:
    files = tuple(stored_file(far.root, f"{n}/x y.txt", f"{n}".encode(), n) for n in (1, 2, 3))
    order = far.order(
        "${one} ${many} --out=${job_output_dir} ${job_output_dir} ${none}",
        inputs=(
            OrderInput("one", "file", None, files[:1]),
            OrderInput("many", "files", None, files[1:]),
            OrderInput("none", "file", None, ()),
        ),
    )
    done = far.run(order)
    assert done.returncode == 0, done.stderr
    shown, folder = far.shown(), str(far.folder)
    one, many, flag, out = shown["argv"]
    assert one == f"{folder}/inputs/input_data/one/x y.txt"
    assert many == f"{folder}/inputs/input_data/many"
    assert flag == f"--out={folder}/outputs/output_data"
    assert shown["files"] == {one: "1"}
    assert shown["folders"] == {many: ["1_x y.txt", "x y.txt"], out: []}
    assert (shown["cwd"], shown["stdin"]) == (f"{folder}/outputs/output_work", "")
    assert far.ending().folder == folder


def test_arguments_arrive_byte_for_byte(far: Far) -> None:
    values = [
        "a b", "'\"", "$(touch oops); `touch oops`", "{{ ds }} ${x}", "ä\n\tö\r\n", "-x", "\\", "*", "~",
        "!!", "$SCALE_JOB_FOLDER", "", "a=b", "#", "&& touch oops", "\x01\x7f",
    ]  # fmt: skip
    order = far.order(
        " ".join(f"${{p{n}}}" for n in range(len(values))),
        inputs=tuple(OrderInput(f"p{n}", "property", value, ()) for n, value in enumerate(values)),
    )
    done = far.run(order)
    assert done.returncode == 0, done.stderr
    assert far.shown()["argv"] == values
    assert list(far.root.rglob("oops")) == []


def test_variables_mean_nothing_to_the_shell(far: Far) -> None:
    value = "a'b\"; touch oops; $(touch oops)\n`touch oops`"
    done = far.run(
        far.order("${job_output_dir}"),
        SECRET=value, SCALE_JOB_FOLDER="/elsewhere", IFS="/", BASH_ENV="oops", UID="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert far.shown()["secret"] == value
    assert far.shown()["argv"] == [f"{far.folder}/outputs/output_data"]
    assert list(far.root.rglob("oops")) == []


def test_how_it_ended(far: Far) -> None:
    before = int(time.time())
    done = far.run(far.order("", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert done.returncode == 3
    ending = far.ending()
    assert ending.exit_code == 3
    assert before <= ending.started <= ending.ended <= time.time() + 1
    assert (far.folder / STDOUT).read_text() == "out\n"
    assert (far.folder / STDERR).read_text() == "err\n"
    assert (done.stdout, done.stderr) == ("out\n", "err\n")  # what Rescale's own pages show


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.abort()", 134),
        ("raise SystemExit(255)", 255),
    ],
)
def test_signals_are_told_as_everywhere(far: Far, program: str, code: int) -> None:
    far.run(far.order("", program))
    assert far.ending().exit_code == code


def test_a_command_that_is_not_there(far: Far) -> None:
    order = make_order(far.root, "no-such-program", "")
    assert far.run(order).returncode == 127
    assert far.ending().exit_code == 127
    assert "no-such-program" in (far.folder / STDERR).read_text()


def test_only_what_is_wanted_is_left_behind(far: Far) -> None:
    source = stored_file(far.root, "in.txt", b"in")
    program = "import sys; open('waste', 'w'); open(sys.argv[-1] + '/a.txt', 'w').write('a')"
    order = far.order("${in} ${job_output_dir}", program, inputs=(OrderInput("in", "file", None, (source,)),))
    for _ in range(2):  # Rescale may start it anew in the same folder
        assert far.run(order).returncode == 0
        left = sorted(str(path.relative_to(far.folder)) for path in far.folder.rglob("*") if path.is_file())
        assert left == sorted(["in0 $x'", "outputs/output_data/a.txt", ENDING, STDERR, STDOUT])


def test_what_a_program_can_t_be_given_is_refused(far: Far) -> None:
    order = far.order("${text}", inputs=(OrderInput("text", "property", "a\0b", ()),))
    with pytest.raises(ExecutionFailure, match="'text' has a NUL character"):
        far.run(order)
    with pytest.raises(ExecutionFailure, match="'a=b' has a ="):
        far.run(make_order(far.root, "a=b", ""))
    with pytest.raises(ExecutionFailure, match="has a NUL character, which no command can have"):
        far.run(far.order(""), NAME="x\0y")


@pytest.mark.parametrize(
    "text", ["", "x", "0\n1\n2", "0\n1\n2\nrelative\n", "a\n1\n2\n/x\n", "0\nnot\n2\n/x\n"]
)
def test_an_ending_that_is_none(text: str) -> None:
    assert RemoteEnding.parse(text) is None


def test_an_ending() -> None:
    assert RemoteEnding.parse("3\n10\n20\n/a b\n") == RemoteEnding(3, 10.0, 20.0, "/a b")


def test_nothing_of_this_process_is_in_the_text(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SECRET", "not for jobs")
    run = far.job_run(far.order("${job_output_dir}"))
    text = remote_command(run, [], {})
    assert "not for jobs" not in text
    assert str(far.root / "scratch") not in text
    assert os.linesep not in text.partition("\n")[0]
