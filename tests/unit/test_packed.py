"""Many calls with plain arguments travel together, there and back, and are still calls of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard import calls
from taskyard.codec import PLAIN, decode, decode_error
from taskyard.errors import TaskFailed
from worker import running

ARGUMENT = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()


def ends_of(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Values, or exceptions, of calls that travel together."""
    ended = running.run("work", calls.pack_plain(arguments), {"work": function}, False, None)
    assert isinstance(ended, bytes)
    seconds, outcomes = calls.unpack_outcomes(ended)
    assert seconds >= 0
    return [decode(value) if returned else decode_error(value, "") for returned, value in outcomes]


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[ARGUMENT] * width), min_size=1)))
def test_arguments_come_out_as_they_went_in(arguments: list[tuple[Any, ...]]) -> None:
    assert calls.unpack(calls.pack_plain(arguments)).payloads == arguments


def test_plain_values_come_back_together() -> None:
    ended = running.run("work", calls.pack_plain([(1, 2), (3, 4)]), {"work": lambda a, b: a + b}, False, None)
    assert isinstance(ended, bytes)
    _, values, is_plain = calls.unpack_values(ended)
    assert (values, is_plain) == ([3, 7], True)


def test_what_a_call_returned_or_raised_is_its_own_affair_and_no_call_is_made_twice() -> None:
    made: list[int] = []

    def work(n: int) -> Any:
        made.append(n)
        if n == 2:
            raise LookupError("two")
        if n == 4:
            raise SystemExit(4)
        return [n] if n == 6 else n

    ends = ends_of(work, [(n,) for n in range(8)])
    assert made == list(range(8))
    assert [ends[n] for n in (0, 1, 3, 5, 6, 7)] == [0, 1, 3, 5, [6], 7]
    assert isinstance(ends[2], LookupError)
    assert "in work" in str(ends[2].__cause__)
    assert isinstance(ends[4], TaskFailed)
    assert "sys.exit(4)" in str(ends[4])


def test_a_value_that_can_be_changed_is_told_as_it_was_when_its_call_returned() -> None:
    shared: list[int] = []

    def work(n: int) -> list[int]:
        shared.append(n)
        return shared

    assert ends_of(work, [(0,), (1,), (2,)]) == [[0], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("first", [0, 1])
def test_a_value_that_cannot_travel_fails_its_call_alone(first: int) -> None:
    ends = ends_of(lambda n: (lambda: n) if n == first else n, [(0,), (1,), (2,)])
    assert [isinstance(end, Exception) for end in ends] == [n == first for n in range(3)]


def test_what_is_plain_cannot_be_changed() -> None:
    assert {int, float, bool, type(None), str, bytes} == PLAIN


def test_no_calls_at_all_have_no_outcomes() -> None:
    ended = running.run("work", calls.pack_many([]), {"work": abs}, False, None)
    assert isinstance(ended, bytes)
    assert calls.unpack_outcomes(ended)[1] == []
