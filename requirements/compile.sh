#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pin every package for every Python that Airflow 3.3 supports. Run by hand after a change of setup.cfg; needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."

# A copy, so that no build metadata lands in the checkout.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r setup.cfg pyproject.toml README.md LICENSE scale_airflow schemas "$work"

compile() {
    uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-emit-find-links \
        --no-header --no-annotate "$@" "$work/setup.cfg" requirements/build.in
}
{
    echo "# Pins of everything: demo, tests, linters, documentation. Made by requirements/compile.sh from setup.cfg."
    compile --extra test
} >"$work/test.txt"
{
    echo "# Pins of what the demo runs with: a part of test.txt. Made by requirements/compile.sh from setup.cfg."
    compile --extra embedded --extra examples --constraint "$work/test.txt"
} >"$work/demo.txt"
mv "$work/test.txt" "$work/demo.txt" requirements/
