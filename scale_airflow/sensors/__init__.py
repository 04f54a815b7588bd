# SPDX-License-Identifier: Apache-2.0
"""Sensors that watch for Scale's events."""
