# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that speaks Rescale's API: real files, real jobs, real faults."""
