# SPDX-License-Identifier: Apache-2.0
"""Scale's clock as an Airflow timetable."""
