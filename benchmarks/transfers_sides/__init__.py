# SPDX-License-Identifier: Apache-2.0
"""The sides that benchmarks/transfers.py compares, each a program of its own."""
