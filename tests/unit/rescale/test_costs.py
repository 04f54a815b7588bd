# SPDX-License-Identifier: Apache-2.0
"""What a job costs at most, the limit on it, and the cheapest hardware that fits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_airflow.errors import InvalidRequest, RescaleCostRefused, RescaleRefused
from scale_airflow.rescale.costs import (
    cheapest,
    check_cost,
    estimate,
    job_estimate,
    price_of,
    with_cheapest,
)
from scale_airflow.rescale.models import ComputePrice, CoreType


def core_type(
    code: str, cores: list[int], price: str | None, low: str | None = None, **more: Any
) -> CoreType:
    document = {
        "code": code,
        "cores": cores,
        "price": price,
        "lowPriorityPrice": low,
        "memory": 4000,
        "categoryCodes": ["general"],
        **more,
    }
    return CoreType.from_document(document)


def price(code: str, amount: str, **more: Any) -> ComputePrice:
    document = {"coreType": code, "planType": "on-demand", "os": "linux", "isActive": True, **more}
    return ComputePrice.from_document({**document, "value": {"amount": amount}})


GRANITE = core_type("granite", [2, 4, 8], "0.12", "0.05")
EMERALD = core_type("emerald_max", [4, 16, 36], "0.08", "0.06", memory=8000)
OLD = core_type("hpc-3", [1, 2], "0.01", isDeprecated=True)
ALL = [GRANITE, EMERALD, OLD]


def body(walltime: Any = 3, **hardware: Any) -> dict[str, Any]:
    named = {"coreType": "granite", "coresPerSlot": 4, "walltime": walltime, **hardware}
    return {"jobanalyses": [{"analysis": {"code": "openfoam", "version": "8"}, "hardware": named}]}


def test_cores_times_hours_times_price() -> None:
    assert estimate(GRANITE, 4, 3) == Decimal("1.44")
    assert estimate(GRANITE, 4, 2.5, economy=True) == Decimal("0.50")
    found = job_estimate(body(slots=2), ALL)
    assert found.total == Decimal("2.88")
    assert str(found) == "2.88 on demand (openfoam: 8 cores × 3 h × 0.12 on granite)"
    assert job_estimate({**body(), "isLowPriority": True}, ALL).total == Decimal("0.60")


def test_a_job_is_the_sum_of_its_analyses() -> None:
    two = {"jobanalyses": [*body()["jobanalyses"], *body(coreType={"code": "emerald_max"})["jobanalyses"]]}
    assert job_estimate(two, ALL).total == Decimal("1.44") + Decimal("0.96")


def test_where_the_price_list_counts() -> None:
    unpriced = core_type("x", [1], None)
    rows = [
        price("x", "0.3"),
        price("x", "0.4"),
        price("x", "9", os="windows"),
        price("x", "9", isActive=False),
    ]
    assert price_of(unpriced, rows, economy=False) == Decimal("0.4")
    rows.append(price("x", "0.7", planType="instant"))
    assert price_of(unpriced, rows, economy=True) == Decimal("0.4")
    assert price_of(unpriced, rows, economy=False) == Decimal("0.7")
    assert price_of(unpriced, economy=True) is None
    with pytest.raises(RescaleCostRefused, match="no price for the core type 'x'"):
        estimate(unpriced, 1, 1)


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ({}, "no analysis"),
        ({"jobanalyses": "x"}, "no analysis"),
        ({"jobanalyses": [{}]}, "analysis 1 has no hardware"),
        (body(walltime=None), "no walltime"),
        (body(walltime=0), "no walltime"),
        (body(walltime="NaN"), "no walltime"),
        (body(coreType="gold"), "'gold', which Rescale does not offer"),
        (body(coresPerSlot="many"), "how many cores"),
        (body(slots=-1), "how many cores"),
        (body(coreType="silent"), "no price for 'silent'"),
    ],
)
def test_a_cost_that_can_not_be_told_is_refused(job: dict[str, Any], reason: str) -> None:
    found = job_estimate(job, [*ALL, core_type("silent", [4], None)])
    assert found.total is None
    with pytest.raises(RescaleCostRefused, match=reason) as caught:
        check_cost(found, 1_000_000)
    assert caught.value.limit == 1_000_000


def test_max_cost_refuses_with_the_figure() -> None:
    found = job_estimate(body(), ALL)
    check_cost(found, "1.44")
    with pytest.raises(
        RescaleCostRefused, match=r"may cost 1\.43 at most, but could cost 1\.44 on demand"
    ) as caught:
        check_cost(found, 1.43)
    assert (caught.value.estimate, caught.value.limit) == (Decimal("1.44"), Decimal("1.43"))
    for nonsense in ("a lot", -1, float("nan"), True):
        with pytest.raises(InvalidRequest, match="amount of money"):
            check_cost(found, nonsense)


def test_the_cheapest_that_fits() -> None:
    assert cheapest(ALL, cores=2).core_type.code == "granite"
    # 3 cores: 4 × 0.12 on granite, 4 × 0.08 on emerald.
    choice = cheapest(ALL, cores=3)
    assert (choice.core_type.code, choice.cores, choice.cost_per_hour) == ("emerald_max", 4, Decimal("0.32"))
    assert cheapest(ALL, cores=2, economy=True).cost_per_hour == Decimal("0.10")
    assert cheapest(ALL, cores=2, memory_mb=9000).core_type.code == "emerald_max"
    assert cheapest(ALL, cores=9).cores == 16
    assert cheapest([core_type("any", [], "1")], cores=5).cores == 5
    assert cheapest(ALL, cores=2, allowed=["emerald_max"]).core_type.code == "emerald_max"


def test_nothing_fits() -> None:
    with pytest.raises(RescaleRefused, match=r"fits 99 cores, category 'gpu'\. .* none") as caught:
        cheapest(ALL, cores=99, category="gpu")
    assert caught.value.faults[0].path == "/hardware/coreType"
    with pytest.raises(RescaleRefused, match=r"granite \(2/4/8 cores, 4000 MB a core\)"):
        cheapest(ALL, cores=99)


def test_a_body_that_leaves_the_choice_to_us() -> None:
    asked = body(coreType="cheapest", coresPerSlot=3, memory=1000, category="general")
    chosen = with_cheapest(asked, ALL)
    assert chosen["jobanalyses"][0]["hardware"] == {
        "coreType": "emerald_max", "coresPerSlot": 4, "walltime": 3,
    }  # fmt: skip
    assert asked["jobanalyses"][0]["hardware"]["coreType"] == "cheapest"
    limited = with_cheapest(asked, ALL, allowed={("openfoam", "8"): ("granite",)})
    assert limited["jobanalyses"][0]["hardware"]["coreType"] == "granite"
    assert with_cheapest(body(), ALL) == body()
    with pytest.raises(InvalidRequest, match="coresPerSlot"):
        with_cheapest(body(coreType="cheapest", coresPerSlot="few"), ALL)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 64), min_size=1, max_size=4),
            st.integers(1, 100),
            st.integers(1, 16) | st.none(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 64),
    st.integers(1, 500) | st.none(),
)
def test_nothing_that_fits_is_cheaper(
    offers: list[tuple[list[int], int, int | None]], cores: int, memory: int | None
) -> None:
    types = [
        core_type(f"c{number}", counts, str(cost), memory=per_core)
        for number, (counts, cost, per_core) in enumerate(offers)
    ]
    fitting = [
        count * cost
        for counts, cost, per_core in offers
        for count in counts
        if count >= cores and (memory is None or (per_core is not None and count * per_core >= memory))
    ]
    if not fitting:
        with pytest.raises(RescaleRefused):
            cheapest(types, cores=cores, memory_mb=memory)
        return
    choice = cheapest(types, cores=cores, memory_mb=memory)
    assert choice.cost_per_hour == min(fitting)
    assert choice.cores in choice.core_type.cores
