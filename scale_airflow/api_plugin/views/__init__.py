# SPDX-License-Identifier: Apache-2.0
"""The forms in which answers show what is stored."""
