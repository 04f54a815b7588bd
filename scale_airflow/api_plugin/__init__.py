# SPDX-License-Identifier: Apache-2.0
"""The plugin: Scale's REST API, the runtime endpoints of workers, and the tick."""
