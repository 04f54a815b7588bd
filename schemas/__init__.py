# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of Scale's documents, one file a document and version, read through importlib.resources."""
