# SPDX-License-Identifier: Apache-2.0
"""Everything that touches Airflow's server side, and nothing else."""
