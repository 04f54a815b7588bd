# SPDX-License-Identifier: Apache-2.0
"""Use cases: each public function is one use case and one transaction."""
