# SPDX-License-Identifier: Apache-2.0
"""A Scale recipe as an Airflow DAG: copy this file and its JSON into your own DAGs folder.

Scale adopts each run when its first task starts: the definition becomes a revision of the recipe type, the
answers of the run's form its recipe data, and the job types must exist in Scale.
"""

from __future__ import annotations

# [START scale_recipe_dag]
from scale_airflow import scale_recipe_dag

dag = scale_recipe_dag("terrain_recipe.json", name="terrain", version="1.0.0")
# [END scale_recipe_dag]
