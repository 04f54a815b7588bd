# SPDX-License-Identifier: Apache-2.0
"""Client and transfers of Rescale's remote job-submission API."""
