# SPDX-License-Identifier: Apache-2.0
"""Operators for files at Rescale: send what several jobs read, fetch what jobs have made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from scale_airflow.errors import InvalidRequest, NotFound
from scale_airflow.hooks.rescale import RescaleHook
from scale_airflow.operators.rescale_inputs import read_inputs, upload_inputs
from scale_airflow.operators.rescale_results import chosen, download, files_of, shown
from scale_airflow.operators.rescale_wait import DEFAULT_CONNECTION
from scale_airflow.rescale.endpoints import get_file

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from scale_airflow.rescale.file_models import RemoteFile


class RescaleUploadFilesOperator(BaseOperator):
    """Sends files; its XCom is what ``inputs`` of ``RescaleSubmitJobOperator`` takes: ``[{"id": …}, …]``.

    A file that is at Rescale already, unchanged, is found by its checksum and not sent again, so a next try
    sends only what is missing.

    :param paths: files of the worker, folders (each becomes a zip, which jobs unpack), addresses in object
        stores (``s3://bucket/key``, as ``ObjectStoragePath`` takes them) or one of those (templated).
    :param rescale_conn_id: connection of the type ``rescale``.
    """

    template_fields: Sequence[str] = ("paths", "rescale_conn_id")
    ui_color = "#e3d8f0"

    def __init__(
        self,
        *,
        paths: Sequence[str | ObjectStoragePath] | str | ObjectStoragePath,
        rescale_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.paths = paths
        self.rescale_conn_id = rescale_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Send the files.

        :raises TransferError: if a file can't be read or sent; nothing that was sent in this call stays.
        """
        paths = self.paths if isinstance(self.paths, list | tuple) else [self.paths]
        inputs = read_inputs(paths)
        if any(one.volumes for one in inputs):
            raise InvalidRequest(
                "Volumes are put together by the job that reads them: give them to RescaleSubmitJobOperator."
            )
        hook = RescaleHook(self.rescale_conn_id, purpose=type(self).__name__)
        try:
            sent = upload_inputs(hook, inputs, self.log)
        finally:
            hook.close()
        return [{"id": reference["id"]} for _, reference in sent]


class RescaleDownloadFilesOperator(BaseOperator):
    """Fetches the output files of a job, or files by their ids; its XCom is a short list of them.

    They come over several connections, are checked by their sums, and have their names only when they are
    whole. What an earlier try has fetched is not fetched again. Of a job with several runs (a DOE) the files
    of each are in a folder of their own, ``run1``, ``run2``, …

    :param directory: folder of the worker, or the address of one in an object store (templated).
    :param job_id: the job (templated).
    :param file_ids: instead of a job's, these files (templated).
    :param filters: patterns of paths or names, such as ``*.csv``; one that begins with ``!`` leaves files out
        (templated).
    :param allow_none: succeed also if there is no such file.
    :param rescale_conn_id: connection of the type ``rescale``.
    """

    template_fields: Sequence[str] = ("directory", "job_id", "file_ids", "filters", "rescale_conn_id")
    ui_color = "#e3d8f0"

    def __init__(
        self,
        *,
        directory: str | ObjectStoragePath,
        job_id: str | None = None,
        file_ids: Sequence[str] | None = None,
        filters: Sequence[str] | str = (),
        allow_none: bool = False,
        rescale_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.directory = directory
        self.job_id = job_id
        self.file_ids = file_ids
        self.filters = filters
        self.allow_none = allow_none
        self.rescale_conn_id = rescale_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the files.

        :raises NotFound: if there is none; says what there is.
        :raises TransferError: if a file can't be had whole.
        """
        if (self.job_id is None) == (self.file_ids is None):
            raise InvalidRequest("Give either job_id or file_ids: whose files are to be fetched?")
        filters = [self.filters] if isinstance(self.filters, str) else list(self.filters)
        hook = RescaleHook(self.rescale_conn_id, purpose=type(self).__name__)
        try:
            files = self._files(hook)
            wanted = {
                folder: [file for file in group if chosen(file, filters)] for folder, group in files.items()
            }
            if not any(wanted.values()) and not self.allow_none:
                raise NotFound(_missing(self.job_id, filters, files))
            paths = download(hook, wanted, self.directory, (), self.log)
        finally:
            hook.close()
        return {**shown(wanted), "paths": paths[:_SHOWN_PATHS]}

    def _files(self, hook: RescaleHook) -> dict[str, list[RemoteFile]]:
        if self.job_id is not None:
            return files_of(hook.client, self.job_id)
        return {"": [hook.client.send(get_file(each)) for each in self.file_ids or ()]}


_SHOWN_PATHS = 200


def _missing(job_id: str | None, filters: Sequence[str], files: dict[str, list[RemoteFile]]) -> str:
    names = [file.relative_path or file.name for group in files.values() for file in group]
    of = f"Job {job_id} has" if job_id is not None else "There are"
    if not names:
        return f"{of} no files. A job has some once one of its runs has ended."
    shown_names = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f"{of} no file that matches {', '.join(filters)}, but: {shown_names}."
