# SPDX-License-Identifier: Apache-2.0
"""What Airflow's API server warns of while it is imported is not ours."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import airflow.api_fastapi.app  # noqa: F401
