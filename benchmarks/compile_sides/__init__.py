# SPDX-License-Identifier: Apache-2.0
"""The sides of ``compile.py``: the same recipes, compiled in three ways, and one of many loaded."""
