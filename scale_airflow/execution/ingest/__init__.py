# SPDX-License-Identifier: Apache-2.0
"""What a worker does in a Strike directory: sees files, moves them, and brings them into their workspaces."""
