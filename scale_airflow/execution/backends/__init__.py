# SPDX-License-Identifier: Apache-2.0
"""Where jobs run: one module for each backend behind the protocol in ``base``."""
