# SPDX-License-Identifier: Apache-2.0
"""Files to and from Rescale, over many connections at once."""
