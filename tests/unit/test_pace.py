"""How much a worker leases ahead: by measured time, so that short tasks travel together and long ones wait for nobody."""

from __future__ import annotations

import pytest

from taskyard.series import LeaseSeries
from worker.pace import CHUNK_TASKS, Pace


def leases(name: str, many: int) -> list[LeaseSeries]:
    return [LeaseSeries(name, 0, 1, 1, name, [b""] * many, 0.0, "job")]


def chunk(pace: Pace, waiting: list[LeaseSeries], idle_slots: int = 1) -> int:
    return pace.chunk(waiting, sum(len(lease.payloads) for lease in waiting), idle_slots)


def pace(slots: int = 2, **seconds: float) -> Pace:
    """What was learned of tasks by name."""
    made = Pace(slots)
    for name, duration in seconds.items():
        made.learn(name, duration)
    return made


def test_while_nothing_is_known_a_worker_holds_one_task_a_slot() -> None:
    assert pace(slots=3).to_hold() == 3


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, 2), (0.1, 4), (0.01, 22), (0.001, 202), (0.0, 2 + 2 * 2 * CHUNK_TASKS)])
def test_a_worker_holds_a_tenth_of_a_second_of_work_for_each_slot_beside_what_it_runs(seconds: float, expected: int) -> None:
    assert pace(slots=2, work=seconds).to_hold() == expected


def test_what_is_held_follows_what_was_measured_last() -> None:
    made = pace(slots=1, work=0.001)
    before = made.to_hold()
    for _ in range(20):
        made.learn("work", 0.02)
    assert before == 101
    assert made.to_hold() == 6


def test_a_task_that_turns_out_long_counts_before_it_has_ended() -> None:
    made = pace(slots=1, work=0.001)
    made.is_long("work", 0.5)
    assert made.to_hold() == 1
    assert chunk(made, leases("work", 10)) == 1


def test_a_glance_at_a_running_task_does_not_shorten_what_was_measured() -> None:
    made = pace(slots=1, work=2.0)
    made.is_long("work", 0.3)
    for _ in range(3):
        made.learn("work", 0.001)
    # Three short ones after a long one: 2 s * 0.7 ** 3.
    assert chunk(made, leases("work", 10)) == 1


def test_a_glance_at_a_running_task_does_not_make_a_worker_of_long_tasks_hold_more() -> None:
    made = pace(slots=1, long=2.0)
    made.is_long("long", 0.3)
    for _ in range(6):
        made.learn("short", 0.001)
    assert made.to_hold() == 1


@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_the_very_first_task_may_be_a_long_one(seconds: float) -> None:
    made = pace(slots=2)
    made.is_long("work", seconds)
    assert made.to_hold() == 2
    assert chunk(made, leases("work", 10)) == 1


def too_many(pace: Pace, waiting: list[LeaseSeries], slots: int, rate: float) -> int:
    return pace.too_many(waiting, sum(len(lease.payloads) for lease in waiting), slots, rate)


def test_of_what_was_leased_while_tasks_were_thought_short_a_tenth_of_a_second_for_each_slot_is_kept() -> None:
    made = pace(slots=2, short=0.00001, other=60.0)
    waiting = leases("work", 4000)
    assert too_many(made, waiting, 2, 0.0) == 0, "nobody knows yet"
    made.learn("work", 0.02)
    assert too_many(made, waiting, 2, 50.0) == 4000 - 10
    assert too_many(made, leases("short", 500) + waiting, 2, 50.0) == 4000 - 10
    assert too_many(made, waiting + leases("short", 500), 1, 50.0) == 4500 - 5
    made.learn("work", 60.0)
    assert too_many(made, waiting, 2, 0.0) == 4000 - 2, "one a slot at least"


def test_up_to_a_second_of_work_for_each_slot_is_kept() -> None:
    made = pace(slots=1, short=0.0001, work=0.25)
    assert (too_many(made, leases("work", 4), 1, 3.0), too_many(made, leases("work", 5), 1, 3.0)) == (0, 4)
    assert (too_many(made, leases("work", 8), 2, 3.0), too_many(made, leases("work", 9), 2, 3.0)) == (0, 7)
    assert (too_many(made, leases("short", 9_999), 1, 1.0), too_many(made, leases("short", 10_001), 1, 1.0)) == (0, 9_001)


def test_one_task_that_took_long_gives_nothing_back_while_tasks_end_as_fast_as_before() -> None:
    made = pace(slots=2, work=0.001)
    made.learn("work", 1.0)
    assert (too_many(made, leases("work", 200), 2, 100.0), too_many(made, leases("work", 201), 2, 100.0)) == (0, 199)


def test_a_long_task_goes_alone() -> None:
    assert chunk(pace(long=5.0), leases("long", 10)) == 1


def test_a_task_never_seen_goes_alone() -> None:
    assert chunk(pace(short=0.0001), leases("new", 10)) == 1


def test_short_tasks_go_together_for_a_fiftieth_of_a_second() -> None:
    assert chunk(pace(short=0.001), leases("short", 1000)) == 20


def test_a_chunk_ends_with_the_first_long_task_in_it() -> None:
    waiting = leases("short", 5) + leases("long", 5) + leases("short", 5)
    assert chunk(pace(short=0.001, long=1.0), waiting) == 6


def test_a_chunk_may_hold_several_series_and_a_part_of_the_last() -> None:
    made = pace(a=0.001, b=0.002)
    assert chunk(made, leases("a", 6) + leases("b", 3) + leases("a", 100)) == 6 + 3 + 8


def test_the_last_tasks_are_shared_among_the_slots() -> None:
    made = pace(short=0.00001)
    assert chunk(made, leases("short", 10), 4) == 3
    assert chunk(made, leases("short", 1), 4) == 1


def test_a_chunk_is_bounded_however_short_the_tasks_are() -> None:
    assert chunk(pace(short=0.0), leases("short", 5 * CHUNK_TASKS)) == CHUNK_TASKS


def test_a_few_very_short_tasks_are_not_worth_a_round_trip() -> None:
    pace = Pace(1)
    pace.learn("short", 0.001)
    most = pace.to_hold()
    assert most >= 50
    assert (pace.room(0), pace.room(most // 2), pace.room(most - 3), pace.room(most + 5)) == (most, most - most // 2, 0, 0)
    pace.is_long("long", 10.0)
    assert (pace.room(0), pace.room(1)) == (1, 0)


@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_a_slot_without_work_is_always_worth_a_round_trip(seconds: float) -> None:
    assert pace(slots=8, work=seconds).room(7) >= 1
