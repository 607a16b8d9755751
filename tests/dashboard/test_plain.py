"""The reader of pickles agrees with the standard library's on plain data, and stops at anything else."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.rest import plain
from dashboard.rest.plain import NotPlain

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
