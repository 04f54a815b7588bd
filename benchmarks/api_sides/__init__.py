# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of the REST API puts into its databases."""
