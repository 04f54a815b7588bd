# SPDX-License-Identifier: Apache-2.0
"""Files to and from Rescale, over many connections at once.

:class:`Downloader` fetches files whole or not at all; :class:`Uploader` sends them, large ones as compressed
volumes that a job puts together.
"""

from scale_airflow.rescale.transfers.download import Downloaded, Downloader
from scale_airflow.rescale.transfers.progress import Progress
from scale_airflow.rescale.transfers.upload import Uploader
from scale_airflow.rescale.transfers.volumes import Volumes

__all__ = ["Downloaded", "Downloader", "Progress", "Uploader", "Volumes"]
