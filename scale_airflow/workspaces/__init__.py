# SPDX-License-Identifier: Apache-2.0
"""Brokers that store and retrieve the files of workspaces."""
