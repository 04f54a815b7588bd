# SPDX-License-Identifier: Apache-2.0
"""Triggers: the waiting that costs no worker slot."""
