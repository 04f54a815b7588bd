# SPDX-License-Identifier: Apache-2.0
"""Programs that turn an elevation model into map products: the algorithms of the terrain example.

Each module with a ``main`` is one plain command-line program. It knows nothing of Airflow or of Scale's
services; all it keeps to is the contract of the specification: it gets its input files and an output
folder as arguments, writes its products there, names them in ``results_manifest.json`` (or in an
``ARTIFACT:`` line), and says by its exit code what went wrong.
"""

from __future__ import annotations

__version__ = "1.0.0"
