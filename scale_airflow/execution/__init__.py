# SPDX-License-Identifier: Apache-2.0
"""How one job execution runs on a worker: stage, run, collect, report."""
