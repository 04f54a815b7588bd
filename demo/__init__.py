# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a whole Airflow with Scale below one folder; the end-to-end tests start theirs so."""
