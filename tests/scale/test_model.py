from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from benchmarks.scale.model import (
    Costs,
    Setup,
    forecast,
    largest_useful,
    listing_seconds,
    read_rate,
    work_seconds,
)

COSTS = Costs(
    image=1e-3, task=0.02, launch=0.002, commit=0.05, commit_file=1e-5, commit_known=1e-7,
    plan=5e-6, start=4.0, spread=0.0,
)  # fmt: skip
FREE = replace(COSTS, task=0, launch=0, commit=0, commit_file=0, commit_known=0, plan=0, start=0)


def test_without_overheads_cores_divide_the_work() -> None:
    for cores in (1, 2, 8):
        work, waits = work_seconds(Setup(cores, 200_000, local=True), FREE)
        assert work == pytest.approx(200 / cores, rel=0.01)
        assert sum(waits.values()) == pytest.approx(0, abs=0.2)


def test_two_cores_are_nearly_twice_as_fast_as_one() -> None:
    one, two = (work_seconds(Setup(cores, 20_000, local=True), COSTS)[0] for cores in (1, 2))
    assert 1.9 <= one / two <= 2.0


def test_a_prefix_of_s3_is_a_ceiling_that_tars_lift() -> None:
    # 64 cores would read 64,000 objects a second; a prefix gives 5,500.
    objects, tars = (forecast(Setup(64, 1_000_000, how), COSTS) for how in ("objects", "tars"))
    assert objects.parts["work"] >= 1_000_000 / 5_500
    assert tars.parts["work"] < 1_000_000 / 64 * COSTS.image * 1.2
    assert read_rate(Setup(64, 1, "objects", prefixes=20), COSTS) == 110_000


def test_listing_goes_by_requests_and_is_divided_among_listers() -> None:
    assert listing_seconds(Setup(1, 1_000_001), COSTS) == pytest.approx(1_001 * COSTS.request)
    many = listing_seconds(Setup(1, 1_000_000, listers=10), COSTS)
    assert many == pytest.approx(100 * COSTS.request)
    assert listing_seconds(Setup(1, 1_000_000, local=True), COSTS) == 0


def test_the_bound_is_what_holds_up_most() -> None:
    assert forecast(Setup(2, 1_000_000), COSTS).bound == "tasks"
    assert forecast(Setup(512, 10_000_000, prefixes=200), COSTS).bound == "list"
    assert forecast(Setup(512, 10_000_000, listers=1_000), COSTS).bound == "reads"
    slow_driver = replace(COSTS, launch=1.0)
    assert forecast(Setup(64, 1_000_000, local=True), slow_driver).bound == "launches"
    slow_commits = replace(COSTS, commit=100.0)
    assert forecast(Setup(64, 1_000_000, local=True), slow_commits).bound == "commits"
    assert forecast(Setup(64, 1_000, local=True), COSTS).bound == "start"


def test_more_cores_never_take_longer_by_much_and_efficiency_falls() -> None:
    found = [forecast(Setup(cores, 1_000_000, "tars"), COSTS) for cores in (2, 8, 32, 128, 512)]
    for fewer, more in pairwise(found):
        assert more.seconds <= fewer.seconds * 1.02
        assert more.efficiency <= fewer.efficiency
    assert all(0 < one.efficiency <= 1 for one in found)


def test_the_spread_of_task_times_is_repeatable_and_costs_something() -> None:
    setup, ragged = Setup(64, 500_000, local=True), replace(COSTS, spread=0.3)
    assert work_seconds(setup, ragged, seed=1) == work_seconds(setup, ragged, seed=1)
    assert work_seconds(setup, ragged, seed=1)[0] > work_seconds(setup, COSTS)[0]


def test_where_it_stops_scaling() -> None:
    few = largest_useful(1_000_000, COSTS)
    packed = largest_useful(1_000_000, COSTS, layout="tars", listers=64)
    assert 1 <= few <= 16 < packed


def test_nothing_takes_no_time() -> None:
    assert work_seconds(Setup(4, 0), COSTS) == (0.0, {"reads": 0, "launches": 0, "commits": 0})
