# SPDX-License-Identifier: Apache-2.0
"""Scale's tables in Airflow's metadata database."""
