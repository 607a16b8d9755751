"""The plan of a run of blows."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos.blows import BLOWS
from tests.chaos.schedule import KINDS, LANES, plan

SHORT, TWENTY_MINUTES, LONG = 75.0, 1200.0, 3600.0


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_the_same_seed_makes_the_same_plan_and_another_seed_another_one(seconds: float) -> None:
    assert plan(7, seconds) == plan(7, seconds)
    assert plan(7, seconds) != plan(8, seconds)


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_every_kind_of_blow_occurs_whatever_the_seed(seconds: float) -> None:
    for seed in range(100):
        assert {blow.kind for blow in plan(seed, seconds)} == set(KINDS)


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_blows_of_a_lane_are_planned_one_after_the_other_and_end_in_time(seconds: float) -> None:
    for seed in range(100):
        blows = plan(seed, seconds)
        assert blows == sorted(blows)
        for lane, kinds in LANES.items():
            of_lane = [blow for blow in blows if blow.lane == lane]
            assert all(blow.kind in kinds for blow in of_lane)
            assert all(one.at + one.seconds <= after.at for one, after in pairwise(of_lane))
            assert of_lane[-1].at + of_lane[-1].seconds <= seconds + 0.001


def test_twenty_minutes_have_more_than_200_blows_and_each_side_is_under_one_for_three_quarters_of_them_at_most() -> None:
    for seed in range(100):
        blows = plan(seed, TWENTY_MINUTES)
        assert len(blows) >= 11 * TWENTY_MINUTES / 60
        for lane in LANES:
            assert sum(blow.seconds for blow in blows if blow.lane == lane) < 0.75 * TWENTY_MINUTES


def test_in_a_long_run_some_blows_outlast_a_lease() -> None:
    assert all(max(blow.seconds for blow in plan(seed, LONG)) > 30 for seed in range(100))


def test_each_kind_can_be_dealt() -> None:
    assert list(BLOWS) == list(KINDS)
