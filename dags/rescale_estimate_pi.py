# SPDX-License-Identifier: Apache-2.0
"""Estimates pi by throwing darts; what the jobs of rescale_example.py run. Needs nothing but Python."""

import argparse
import json
import random

parser = argparse.ArgumentParser()
parser.add_argument("--samples", type=int, default=100_000)
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()

throw = random.Random(arguments.seed).random  # noqa: S311 - no secret
hits = sum(throw() ** 2 + throw() ** 2 <= 1 for _ in range(arguments.samples))
result = {"samples": arguments.samples, "hits": hits, "pi": 4 * hits / arguments.samples}
with open(f"estimate-{arguments.seed}.json", "w") as file:
    json.dump(result, file)
print(f"pi is about {result['pi']}", flush=True)
