# SPDX-License-Identifier: Apache-2.0
"""Operators that claim, run and report Scale's jobs."""
