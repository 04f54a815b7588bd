# SPDX-License-Identifier: Apache-2.0
"""``airflow rescale coretypes``: hardware and what it costs."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from scale_airflow.cli.rescale_access import access
from scale_airflow.cli.rescale_output import present
from scale_airflow.cli.session import action

if TYPE_CHECKING:
    from scale_airflow.rescale.models import CoreType


@action
def coretypes_command(args: Any) -> None:
    """List core types with prices for an hour, the cheapest first."""
    from scale_airflow.rescale.endpoints import list_core_types

    with access(args) as rescale:
        found = rescale.client.all(list_core_types(active_only=not args.all))
    cores = args.cores or 1
    fitting = [each for each in found if _fits(each, args)]
    fitting.sort(key=lambda each: (each.price is None, each.price or Decimal(0), each.code))
    rows = [_row(each, cores) for each in fitting]
    prices = ("on_demand", "economy")
    present(
        rows,
        args.output,
        shown=dict.fromkeys(prices, _amount),
        right=(*prices, "memory_per_core"),
        nothing="No core type fits; leave out --cores, --memory or --category to see what there is.",
    )


@action
def analyses_command(args: Any) -> None:
    """List software, a row a version."""
    from scale_airflow.rescale.endpoints import list_analyses

    part = (args.text or "").casefold()
    with access(args) as rescale:
        found = rescale.client.all(list_analyses())
    rows = [
        {
            "code": each.code,
            "version": version.code,
            "name": each.name,
            "release": version.version,
            "core_types": ", ".join(version.allowed_core_types) or "any",
        }
        for each in found
        if part in each.code.casefold() or part in each.name.casefold()
        for version in each.versions
    ]
    present(rows, args.output, nothing="There is no such software.")


def _fits(core_type: CoreType, args: Any) -> bool:
    if core_type.is_deprecated and not args.all:
        return False
    if args.category and args.category.casefold() not in {
        code.casefold() for code in core_type.category_codes
    }:
        return False
    cores = args.cores or (max(core_type.cores, default=1) if args.memory else None)
    if args.cores and core_type.cores and args.cores not in core_type.cores:
        return False
    memory = core_type.memory_mb_per_core
    return not args.memory or (memory is not None and memory * (cores or 1) >= args.memory * 1000)


def _row(core_type: CoreType, cores: int) -> dict[str, Any]:
    return {
        "code": core_type.code,
        "name": core_type.name,
        "cores": _numbers(core_type.cores),
        "memory_per_core": None
        if core_type.memory_mb_per_core is None
        else f"{core_type.memory_mb_per_core} MB",
        "on_demand": _times(core_type.price, cores),
        "economy": _times(core_type.low_priority_price, cores),
        "categories": ", ".join(core_type.category_codes),
        "processor": core_type.processor_info,
    }


def _numbers(cores: tuple[int, ...]) -> str:
    return ", ".join(map(str, cores)) if len(cores) <= 8 else f"{cores[0]} … {cores[-1]}, {len(cores)} sizes"


def _times(price: Decimal | None, cores: int) -> Decimal | None:
    return None if price is None else price * cores


def _amount(value: Decimal | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
