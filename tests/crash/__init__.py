# SPDX-License-Identifier: Apache-2.0
"""The crash matrix: processes are killed while a whole installation works, and nothing may be lost."""
