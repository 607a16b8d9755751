"""Blows that fall alone: which, and what their stalls are held against."""

from __future__ import annotations

import pytest

from tests.chaos.alone import CASES, LEASE, AloneReport, Stall, blows_of, stall_of
from tests.chaos.report import Fallen
from tests.chaos.schedule import KINDS, LANES, Blow

FALLEN = Fallen(Blow(0.0, "master", "pause master", 5.0, 1), begun=100.0, over=105.0, hit=1)


def test_each_kind_falls_alone_at_least_once_in_its_own_lane() -> None:
    blows = blows_of(7, KINDS)
    assert {blow.kind for blow in blows} == set(KINDS) == set(CASES)
    assert all(blow.kind in LANES[blow.lane] for blow in blows)


def test_the_seed_decides_whom_it_hits_and_one_kind_can_be_asked_for() -> None:
    assert blows_of(7, KINDS) == blows_of(7, KINDS) != blows_of(8, KINDS)
    assert {blow.kind for blow in blows_of(7, ["scale workers"])} == {"scale workers"}


def test_a_worker_that_is_frozen_or_cut_off_is_so_for_longer_than_a_lease() -> None:
    for kind in ("stop supervisors", "pause workers", "unplug workers", "deafen workers", "mute workers"):
        assert CASES[kind].seconds > CASES[kind].bound > LEASE


def test_a_stall_is_the_worst_that_met_the_blow_or_followed_it_before_all_was_well() -> None:
    gaps = [(90.0, 99.0), (100.5, 106.0), (106.5, 107.5), (120.0, 130.0)]
    late = [(99.9, 106.5), (121.0, 131.0)]
    told = stall_of(FALLEN, 105.5, 110.0, gaps, late)
    assert (told.lasted, told.nothing) == (5.5, 5.5)
    assert told.slowest == pytest.approx(6.6)
    assert told.worst == told.slowest
    assert told.bound == 7.5


def test_the_table_tells_of_each_kind_the_blow_that_came_nearest_to_its_bound() -> None:
    stalls = [Stall("kill master", 1, 1.0, 1.5, 1.6), Stall("kill master", 1, 2.0, 2.1, 2.2), Stall("scale workers", 2, 3, 0, 0)]
    told = AloneReport(7, 60.0, "make chaos-alone SEED=7", stalls=stalls).table()
    assert "| kill master | 2 | 2 | 1.0 s | 1.5 s | 1.6 s | 3.0 s |" in told
    assert "| scale workers | 1 | 2 | 3.0 s | under 0.5 s | under 0.5 s | 1.0 s |" in told
