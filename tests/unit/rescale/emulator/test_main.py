# SPDX-License-Identifier: Apache-2.0
"""The emulator's command line: what it teaches, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scale_airflow.rescale.emulator.__main__ import main


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert "curl -H 'Authorization: Token secret'" in words
    assert "any command as the user that started it: it listens on the loopback interface only" in words
    for option in ("--port", "--root", "--api-key", "--authorized-keys", "--pace", "--throttle", "--latency"):
        assert option in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], "'70000' is no port: a number from 0 to 65535"),
        (["--pace", "-1"], "'-1' is not a number of 0 or more"),
        (["--pace", "x"], "'x' is not a number of 0 or more"),
        (["--api-key", "two words"], "a key is printable text without spaces"),
        (["--gateway-timeout-every", "-1"], "'-1' is not a whole number of 0 or more"),
        ([], "--root, --api-key"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "option"), [("aiohttp", ""), ("asyncssh", "'--authorized-keys', '/dev/null',")]
)
def test_what_is_not_installed_is_named(tmp_path: Path, package: str, option: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; "
        "from scale_airflow.rescale.emulator.__main__ import main; "
        f"sys.exit(main([{option} '--api-key', 'k', '--root', {str(tmp_path)!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == f"The emulator needs {package}: pip install 'scale-airflow[emulator]'\n"
