# SPDX-License-Identifier: Apache-2.0
"""Clients of Scale's API."""
