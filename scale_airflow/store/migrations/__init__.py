# SPDX-License-Identifier: Apache-2.0
"""Alembic migrations of the ``scale_`` tables."""
