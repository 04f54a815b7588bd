# SPDX-License-Identifier: Apache-2.0
"""The endpoints, one module for each service of the specification; each exports ``router``."""
