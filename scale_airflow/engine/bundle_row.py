# SPDX-License-Identifier: Apache-2.0
"""The bundle of generated files, as Airflow's configuration and database know it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from scale_airflow.compiler.bundle import ScaleDagBundle
from scale_airflow.errors import InstallationError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

REMEDY = (
    'Add {"name": "scale", "classpath": "scale_airflow.compiler.bundle.ScaleDagBundle", "kwargs": {}} to '
    "[dag_processor] dag_bundle_config_list and restart Airflow."
)


@functools.cache
def configured_bundle() -> ScaleDagBundle:
    """Return the bundle under the name that the configuration gives it.

    :raises InstallationError: if ``[dag_processor] dag_bundle_config_list`` does not have it.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    manager: Any = DagBundlesManager
    for bundle in manager().get_all_dag_bundles():
        if isinstance(bundle, ScaleDagBundle):
            return bundle
    raise InstallationError("Airflow's configuration lacks the bundle of Scale's DAG files.", REMEDY)


def ensure_bundle_row(session: Session, name: str) -> None:
    """Make Airflow's row of the bundle if no DAG processor has yet; DAGs refer to it."""
    from airflow.models.dagbundle import DagBundleModel
    from sqlalchemy import select
    from sqlalchemy.dialects.postgresql import insert

    if session.scalar(select(DagBundleModel.name).where(DagBundleModel.name == name)) is None:
        # The DAG processor fills in the rest (a signed URL template, of which this bundle has none).
        session.execute(insert(DagBundleModel).values(name=name, active=True).on_conflict_do_nothing())
