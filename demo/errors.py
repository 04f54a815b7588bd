# SPDX-License-Identifier: Apache-2.0
"""What can stop a demonstration."""

from __future__ import annotations


class DemoError(Exception):
    """The demonstration can't go on; ``problem`` says why, ``remedy`` what to do."""

    def __init__(self, problem: str, remedy: str = ""):
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}".strip())
