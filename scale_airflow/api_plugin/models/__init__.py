# SPDX-License-Identifier: Apache-2.0
"""What the API answers, for its OpenAPI document: the fields of every answer, each with its meaning.

These are words about the forms that :mod:`scale_airflow.api_plugin.views` makes; no answer is made or checked
with them while the server runs. Tests hold them against the real answers, field by field.
"""
