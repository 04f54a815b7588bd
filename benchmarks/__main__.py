# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks``: the same as ``python benchmarks/run_all.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.exit(subprocess.call([sys.executable, Path(__file__).with_name("run_all.py"), *sys.argv[1:]]))
