"""The reader of pickles agrees with the standard library's on plain data, and stops at anything else."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.rest import plain
from dashboard.rest.plain import NotPlain
from dashboard.rest.values import result_out, results_out
from taskyard.calls import pack_outcomes, pack_values
from taskyard.codec import encode, encode_json
from taskyard.model import Result

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    LEAVES,
    lambda one: st.lists(one) | st.dictionaries(st.text(), one) | st.tuples(one, one) | st.lists(one).map(tuple),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(value=PLAIN, protocol=st.integers(3, 5))
def test_what_is_plain_is_read_as_the_standard_library_reads_it(value: Any, protocol: int) -> None:
    assert plain.load(pickle.dumps(value, protocol)) == value


@settings(max_examples=500, deadline=None)
@given(value=PLAIN, cut=st.integers(0, 50), flip=st.integers(0, 2**32), garbage=st.binary(max_size=20))
def test_what_is_broken_is_not_plain_or_is_plain_whatever_was_done_to_it(value: Any, cut: int, flip: int, garbage: bytes) -> None:
    data = bytearray(pickle.dumps(value, 5))
    data[flip % len(data)] ^= 1 + flip % 255
    for broken in (bytes(data), bytes(data[:-1][:cut]), garbage, bytes(data[:-1]) + garbage):
        try:
            plain.to_json(plain.load(broken))
        except NotPlain:
            continue


def test_a_value_that_refers_to_itself_is_read_and_not_told() -> None:
    knot: list[Any] = []
    knot.append(knot)
    with pytest.raises(NotPlain, match="too deep"):
        plain.to_json(plain.load(pickle.dumps(knot)))


@pytest.mark.parametrize("value", [["x" * 100_000] * 1000, [{"x" * 100_000: 1}] * 1000], ids=["values", "keys"])
def test_one_text_that_stands_in_many_places_is_too_much(value: Any) -> None:
    read = plain.load(pickle.dumps(value))
    with pytest.raises(NotPlain, match="too much"):
        plain.to_json(read)


# What reading may take


def result(value: bytes, cursor: int = 1) -> Result:
    return Result(cursor, f"a-{cursor}", "done", value, "", 1)


NESTED = encode([[0] * 100] * 900)
"""A small pickle of 90,000 values."""
TRACEBACK = encode((b"", "x" * 100_000))


@pytest.mark.parametrize(
    "call", [(True, NESTED), (True, encode_json("x" * 100_000)), (False, TRACEBACK)], ids=["values", "texts", "tracebacks"]
)
def test_calls_of_one_task_share_what_reading_a_result_may_take(call: tuple[bool, bytes]) -> None:
    assert result_out(result(pack_outcomes(0.1, [call])), "job").calls is not None
    told = result_out(result(pack_outcomes(0.1, [call] * 60)), "job")
    assert (told.calls, told.opaque is not None and told.opaque.why) == (None, "too deep, or too much")


def test_a_pickle_of_more_words_than_it_may_have_is_not_read_to_its_end() -> None:
    few, many = (pickle.dumps([None] * count) for count in (plain.MOST // 3, plain.MOST))
    assert len(plain.load(few)) == plain.MOST // 3
    with pytest.raises(NotPlain, match="too much"):
        plain.load(many)


def test_values_that_are_no_bytes_are_no_calls() -> None:
    odds: list[Any] = [{}, [], 1, None, "p"]
    for odd in odds:
        told = result_out(result(pack_outcomes(0.1, [(True, odd)])), "job")
        assert (told.calls, told.opaque is not None) == (None, True)


def test_a_page_ends_early_rather_than_take_the_time_of_many_and_what_is_told_does_not_hang_on_the_page() -> None:
    page = [result(pack_values(0.1, list(range(50_000))), cursor) for cursor in range(1, 21)]
    first = results_out(page, "job")
    assert 2 <= len(first) < 10
    assert [one.calls for one in first] == [list(range(50_000))] * len(first)
    assert results_out(page[len(first) :], "job")[0].cursor == len(first) + 1
    small = [result(encode(cursor), cursor) for cursor in range(1, 1001)]
    assert [one.value for one in results_out(small, "job")] == list(range(1, 1001))
