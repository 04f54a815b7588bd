# SPDX-License-Identifier: Apache-2.0
"""Scale's documents: structure, meaning, typed models. Imports neither Airflow nor the database."""
