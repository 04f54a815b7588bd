# SPDX-License-Identifier: Apache-2.0
"""From a revision to a graph to an immutable DAG file."""
