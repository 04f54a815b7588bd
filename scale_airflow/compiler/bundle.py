# SPDX-License-Identifier: Apache-2.0
"""The bundle of generated DAG files, as Airflow's DAG processor and workers use it.

A run that Scale created carries the name of its file as its *bundle version*. So a task knows the one file
that it needs: it is checked against its checksum, and fetched from the API server only if it is not there
or damaged. Nothing is ever listed for a task.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle

from scale_airflow.compiler.dag_files import split_file_name
from scale_airflow.compiler.fetch import DagFileSource
from scale_airflow.compiler.local_files import LocalDagFiles
from scale_airflow.config import settings
from scale_airflow.errors import ScaleApiError

log = logging.getLogger(__name__)


class ScaleDagBundle(BaseDagBundle):
    """Serves the generated DAG files of ``[scale] dags_dir``.

    Used through ``[dag_processor] dag_bundle_config_list``::

        [{"name": "scale", "classpath": "scale_airflow.compiler.bundle.ScaleDagBundle", "kwargs": {}}]

    :param path: another directory than ``[scale] dags_dir``.
    """

    # Airflow's versions are copies of the whole directory. Ours need none: files never change.
    supports_versioning = False

    def __init__(self, *, path: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._files = LocalDagFiles(Path(path) if path else settings().dags_dir)

    @property
    def path(self) -> Path:
        """The directory of the generated files on this host."""
        return self._files.directory

    @property
    def files(self) -> LocalDagFiles:
        """The generated files on this host."""
        return self._files

    def get_current_version(self) -> None:
        """Return nothing: the directory as a whole has no version."""
        return

    def initialize(self) -> None:
        """Make sure that what is asked for is there: one file for a task of a run that Scale created.

        A run that somebody started by hand names no file; on a host where files are not published, what is
        newer than the last look is fetched then.

        :raises ScaleApiError: if a file is needed from the API server and can't be had.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file_name = file_of_version(self.version)
        if file_name is not None:
            self._ensure(file_name)
        elif not self._files.is_origin():
            DagFileSource(self._files).fetch_newer()
        super().initialize()

    def refresh(self) -> None:
        """Bring the directory up to date: repair it where files are published into it, else mirror it.

        :raises ScaleApiError: if a mirror can't be brought up to date. Then Airflow leaves its DAGs alone; it
            would take those whose files are not here yet for deleted ones.
        """
        if self._files.is_origin():
            self._repair()
        else:
            DagFileSource(self._files).synchronize()

    def _repair(self) -> None:
        for file_name in self._files.visible_files():
            try:
                self._ensure(file_name)
            except ScaleApiError as error:
                log.warning("The generated DAG file %s stays damaged: %s", file_name, error)

    def _ensure(self, file_name: str) -> None:
        if self._files.is_intact(file_name):
            return
        log.warning("Generated DAG file %s is missing or damaged here: fetching it", file_name)
        DagFileSource(self._files).fetch(file_name)


def version_of_file(file_name: str) -> str:
    """Return the bundle version that stands for a generated file."""
    return file_name.removesuffix(".py")


def file_of_version(version: str | None) -> str | None:
    """Return the generated file that a bundle version stands for; None if it stands for none."""
    if version is None:
        return None
    file_name = f"{version}.py"
    try:
        split_file_name(file_name)
    except ValueError:
        return None
    return file_name
