# SPDX-License-Identifier: Apache-2.0
"""What a job may cost at most, before it is started; and which hardware is the cheapest that fits.

The figures are those of the hardware: cores times hours times the price of a core and hour. A job ends at its
walltime at the latest, so this is the most that it can cost. Licences, storage and storage devices are not in
it: Rescale's API does not tell their prices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from scale_airflow.errors import Fault, InvalidRequest, RescaleCostRefused, RescaleRefused
from scale_airflow.rescale.documents import decimal_of
from scale_airflow.rescale.models import ComputePrice, CoreType

# In a job's hardware in place of a core type's code.
CHEAPEST = "cheapest"
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Part:
    """What one analysis of a job costs at most.

    :param cores: in all its slots.
    :param price: for a core and hour.
    """

    analysis: str
    core_type: str
    cores: int
    hours: Decimal
    price: Decimal

    @property
    def cost(self) -> Decimal:
        """Cores × hours × price."""
        return self.cores * self.hours * self.price

    def __str__(self) -> str:
        cores = f"{self.cores} {'core' if self.cores == 1 else 'cores'}"
        return f"{self.analysis}: {cores} × {self.hours} h × {self.price} on {self.core_type}"


@dataclass(frozen=True)
class Estimate:
    """What a job costs at most, in the currency of Rescale's prices.

    :param economy: On-Demand Economy (the spot market).
    :param unknown: why there is no total, if there is none.
    """

    parts: tuple[Part, ...]
    economy: bool
    unknown: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal | None:
        """The sum, to the cent; None if something about it is not known."""
        if self.unknown:
            return None
        return sum((part.cost for part in self.parts), Decimal(0)).quantize(_CENT, ROUND_HALF_UP)

    def __str__(self) -> str:
        kind = "On-Demand Economy" if self.economy else "on demand"
        if self.unknown:
            return "unknown: " + "; ".join(self.unknown)
        return f"{self.total} {kind} (" + "; ".join(map(str, self.parts)) + ")"


@dataclass(frozen=True)
class Choice:
    """Hardware that a rule has chosen.

    :param cores: the cores of a slot: the smallest allowed number that is enough.
    :param price: for a core and hour.
    """

    core_type: CoreType
    cores: int
    price: Decimal

    @property
    def cost_per_hour(self) -> Decimal:
        """What a slot costs an hour."""
        return self.cores * self.price


def price_of(core_type: CoreType, prices: Iterable[ComputePrice] = (), *, economy: bool) -> Decimal | None:
    """Return the price of a core and hour; None if Rescale tells none.

    The core type's own price counts. Where it has none, the highest active Linux price of the price list does
    (for economy: of the plans that end in ``on-demand``, as Rescale calls the spot market there), so that an
    estimate is rather too high.
    """
    own = core_type.low_priority_price if economy else core_type.price
    if own is not None:
        return own
    listed = [
        row.amount
        for row in prices
        if row.core_type == core_type.code
        and row.is_active
        and row.os in ("", "linux")
        and (not economy or row.plan_type.endswith("on-demand"))
        and row.amount is not None
    ]
    return max(listed, default=None)


def estimate(
    core_type: CoreType,
    cores: int,
    hours: Decimal | float,
    *,
    economy: bool = False,
    prices: Iterable[ComputePrice] = (),
) -> Decimal:
    """Return what cores cost for some hours.

    :raises RescaleCostRefused: if Rescale tells no price.
    """
    price = price_of(core_type, prices, economy=economy)
    if price is None:
        raise RescaleCostRefused(f"Rescale tells no price for the core type {core_type.code!r}.")
    return (cores * Decimal(str(hours)) * price).quantize(_CENT, ROUND_HALF_UP)


def cheapest(
    core_types: Iterable[CoreType],
    prices: Iterable[ComputePrice] = (),
    *,
    cores: int = 1,
    memory_mb: int | None = None,
    category: str | None = None,
    economy: bool = False,
    allowed: Sequence[str] = (),
) -> Choice:
    """Return the hardware whose slot costs least an hour, among that which is enough.

    :param cores: cores of a slot at least; a type that offers more in one piece is paid for more.
    :param memory_mb: memory of a slot at least, in megabytes.
    :param category: a category that the type must be in, such as ``general``.
    :param allowed: the codes that the analysis can run on; empty: all.
    :raises RescaleRefused: if nothing fits; says what there is.
    """
    rows = list(prices)
    candidates = [
        core_type
        for core_type in core_types
        if not core_type.is_deprecated
        and (category is None or category in core_type.category_codes)
        and (not allowed or core_type.code in allowed)
    ]
    choices = []
    for core_type in candidates:
        number = _enough(core_type, cores, memory_mb)
        price = price_of(core_type, rows, economy=economy)
        if number is not None and price is not None:
            choices.append(Choice(core_type, number, price))
    if not choices:
        wanted = f"{cores} cores"
        wanted += f", {memory_mb} MB of memory" if memory_mb else ""
        wanted += f", category {category!r}" if category else ""
        raise RescaleRefused(
            f"No core type of Rescale's fits {wanted}"
            + (f" and the analysis ({', '.join(allowed)})" if allowed else "")
            + f". Of these kinds there are: {', '.join(map(_shown, candidates[:20])) or 'none'}.",
            faults=[Fault("/hardware/coreType", f"no core type fits {wanted}", "rescale.cheapest")],
        )
    return min(choices, key=lambda choice: (choice.cost_per_hour, choice.core_type.code))


def job_estimate(
    body: Mapping[str, Any], core_types: Iterable[CoreType], prices: Iterable[ComputePrice] = ()
) -> Estimate:
    """Return what a whole job costs at most: the sum over its analyses.

    :param body: what the job is created of.
    """
    by_code = {core_type.code: core_type for core_type in core_types}
    rows = list(prices)
    economy = body.get("isLowPriority") is True
    parts, unknown = [], []
    analyses = body.get("jobanalyses")
    if not isinstance(analyses, Sequence) or isinstance(analyses, str) or not analyses:
        return Estimate((), economy, ("the job has no analysis",))
    for number, analysis in enumerate(analyses, 1):
        part = _part(analysis, number, by_code, rows, economy)
        if isinstance(part, Part):
            parts.append(part)
        else:
            unknown.append(part)
    return Estimate(tuple(parts), economy, tuple(unknown))


def check_cost(found: Estimate, max_cost: Decimal | float | str) -> None:
    """Refuse a job that could cost too much, or whose cost can't be told.

    :param max_cost: in the currency of Rescale's prices.
    :raises RescaleCostRefused: with the figure.
    :raises InvalidRequest: if the limit is no amount.
    """
    limit = decimal_of(max_cost)
    if limit is None or limit < 0:
        raise InvalidRequest(f"max_cost must be an amount of money, not {max_cost!r}.")
    if found.total is None:
        raise RescaleCostRefused(
            f"The job was not submitted: max_cost is {limit}, but what it would cost is {found}.", limit=limit
        )
    if found.total > limit:
        raise RescaleCostRefused(
            f"The job was not submitted: it may cost {limit} at most, but could cost {found}.",
            estimate=found.total,
            limit=limit,
        )


def with_cheapest(
    body: Mapping[str, Any],
    core_types: Iterable[CoreType],
    prices: Iterable[ComputePrice] = (),
    *,
    allowed: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return a job's body in which hardware with ``"coreType": "cheapest"`` names what was chosen.

    ``coresPerSlot``, ``memory`` (MB) and ``category`` beside it say what is needed; the latter two are ours
    and are taken out.

    :param allowed: the core types that an analysis can run on, by its code and version.
    :raises RescaleRefused: if nothing fits.
    """
    known, rows = list(core_types), list(prices)
    analyses = []
    for analysis in body.get("jobanalyses") or ():
        hardware = analysis.get("hardware") if isinstance(analysis, Mapping) else None
        if not isinstance(hardware, Mapping) or hardware.get("coreType") != CHEAPEST:
            analyses.append(analysis)
            continue
        software = analysis.get("analysis") or {}
        choice = cheapest(
            known,
            rows,
            cores=_whole(hardware.get("coresPerSlot"), "coresPerSlot") or 1,
            memory_mb=_whole(hardware.get("memory"), "memory"),
            category=hardware.get("category"),
            economy=body.get("isLowPriority") is True,
            allowed=(allowed or {}).get((str(software.get("code")), str(software.get("version"))), ()),
        )
        chosen = {key: value for key, value in hardware.items() if key not in ("memory", "category")}
        chosen |= {"coreType": choice.core_type.code, "coresPerSlot": choice.cores}
        analyses.append({**analysis, "hardware": chosen})
    return {**body, "jobanalyses": analyses}


def wants_cheapest(body: Mapping[str, Any]) -> bool:
    """Tell whether a job's body leaves a choice of hardware to us."""
    return any(
        isinstance(analysis, Mapping)
        and isinstance(analysis.get("hardware"), Mapping)
        and analysis["hardware"].get("coreType") == CHEAPEST
        for analysis in body.get("jobanalyses") or ()
    )


def _enough(core_type: CoreType, cores: int, memory_mb: int | None) -> int | None:
    needed = cores
    if memory_mb:
        if not core_type.memory_mb_per_core:
            return None
        needed = max(cores, -(-memory_mb // core_type.memory_mb_per_core))
    if not core_type.cores:
        return needed
    return min((number for number in core_type.cores if number >= needed), default=None)


def _part(
    analysis: Any, number: int, by_code: Mapping[str, CoreType], prices: list[ComputePrice], economy: bool
) -> Part | str:
    software = analysis.get("analysis") if isinstance(analysis, Mapping) else None
    name = str((software or {}).get("code") or f"analysis {number}")
    hardware = analysis.get("hardware") if isinstance(analysis, Mapping) else None
    if not isinstance(hardware, Mapping):
        return f"{name} has no hardware"
    code = hardware.get("coreType")
    if isinstance(code, Mapping):
        code = code.get("code")
    core_type = by_code.get(str(code))
    if core_type is None:
        return f"{name} wants the core type {code!r}, which Rescale does not offer"
    hours, cores = decimal_of(hardware.get("walltime")), decimal_of(hardware.get("coresPerSlot"))
    slots = decimal_of(hardware.get("slots", 1) or 1)
    if hours is None or hours <= 0:
        return f"{name} has no walltime (hours), without which it may run for ever"
    if cores is None or slots is None or cores < 1 or slots < 1:
        return f"{name} does not say how many cores it wants"
    price = price_of(core_type, prices, economy=economy)
    if price is None:
        return f"Rescale tells no price for {core_type.code!r}"
    return Part(name, core_type.code, int(cores * slots), hours, price)


def _whole(value: Any, name: str) -> int | None:
    if value is None:
        return None
    number = decimal_of(value)
    if number is None or number < 1 or number != int(number):
        raise InvalidRequest(f"{name} of the hardware must be a whole number above 0, not {value!r}.")
    return int(number)


def _shown(core_type: CoreType) -> str:
    cores = "/".join(map(str, core_type.cores)) or "any number of"
    return f"{core_type.code} ({cores} cores, {core_type.memory_mb_per_core or '?'} MB a core)"
