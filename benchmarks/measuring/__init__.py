# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: processes of their own, competitors in environments of their own, reports."""
