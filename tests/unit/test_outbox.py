"""What waits to be sent is cut and joined as messages need it, and no call is lost or comes twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskyard import outbox
from taskyard.futures import Key
from taskyard.model import Task
from taskyard.options import Options
from taskyard.outbox import LONGEST, Outbox, Parcel
from taskyard.series import NOT_NUMBERED, TaskSeries, ids_of

SQUARE, CUBE = Options(name="square"), Options(name="cube", priority=3, delay=1.5, retries=2)


def outbox_of(*sizes: int, options: Options = SQUARE) -> Outbox:
    """Calls that were made so many at a time, from number 0."""
    box = Outbox()
    number = 0
    for size in sizes:
        box.post(options, number, [str(n).encode() for n in range(number, number + size)])
        number += size
    return box


def ids(series: list[TaskSeries]) -> list[str]:
    return [task_id for one in series for task_id in ids_of(one.prefix, one.first, len(one.payloads))]


def test_calls_in_a_row_with_the_same_options_are_one_series() -> None:
    (series,) = outbox.to_series(outbox_of(1, 1, 3), "the job", "client")
    assert series[:5] == ("client", 0, "the job", "square", [b"0", b"1", b"2", b"3", b"4"])


def test_a_series_ends_once_it_is_long() -> None:
    first, second = outbox_of(*[1] * (LONGEST + 1))
    assert (len(first.payloads), second.key) == (LONGEST, LONGEST)


def test_a_series_has_the_options_of_its_calls() -> None:
    (series,) = outbox.to_series(outbox_of(2, options=CUBE), "job", "job")
    assert series[5:] == Task("", "job", "cube", b"", priority=3, delay=1.5, retries=2)[4:]


def test_other_options_a_gap_or_a_key_begin_another_series() -> None:
    box = Outbox()
    calls: list[tuple[Options, Key]] = [(SQUARE, 0), (CUBE, 1), (CUBE, 12), (CUBE, "key-1f"), (CUBE, 13), (CUBE, 14)]
    for options, key in calls:
        box.post(options, key, [str(key).encode()])
    series = outbox.to_series(box, "job", "job")
    assert [(one.prefix, one.first, list(one.payloads)) for one in series] == [
        ("job", 0, [b"0"]),
        ("job", 1, [b"1"]),
        ("job", 12, [b"12"]),
        ("key-1f", NOT_NUMBERED, [b"key-1f"]),
        ("job", 13, [b"13", b"14"]),
    ]


@given(st.lists(st.integers(1, 9), max_size=9), st.lists(st.integers(1, 20), min_size=1, max_size=9))
def test_whatever_is_taken_at_a_time_all_calls_come_in_their_order(sizes: list[int], takes: list[int]) -> None:
    box = outbox_of(*sizes)
    seen: list[str] = []
    turn = 0
    while box:
        most = takes[turn % len(takes)]
        taken = box.take(most)
        assert 0 < outbox.count(taken) <= most
        seen += ids(outbox.to_series(taken, "job", "job"))
        turn += 1
    assert seen == [f"job-{n}" for n in range(sum(sizes))]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_calls_that_nobody_wants_are_left_out(wanted: list[bool]) -> None:
    (parcel,) = outbox_of(len(wanted))
    left = outbox.without(parcel, wanted)
    assert ids(outbox.to_series(left, "job", "job")) == [f"job-{n}" for n, one in enumerate(wanted) if one]
    assert all(list(one.all_keys()) == list(map(int, one.payloads)) for one in left)


def test_a_call_with_a_key_is_left_out_whole() -> None:
    parcel = Parcel(SQUARE, "key-1f", [b"x"])
    assert outbox.without(parcel, [True]) == [parcel]
    assert outbox.without(parcel, [False]) == []
