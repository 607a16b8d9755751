"""Durations by bucket: what a quantile tells lies in the bucket that has it."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.histogram import BOUNDS, EMPTY, add, bucket, quantile

seconds = st.floats(0, 1e7)
shares = st.floats(0, 1)


def counts_of(durations: list[float]) -> tuple[int, ...]:
    counts = list(EMPTY)
    for one in durations:
        counts[bucket(one)] += 1
    return tuple(counts)


@given(st.lists(seconds, min_size=1), shares)
def test_a_quantile_is_in_the_bucket_of_the_duration_that_has_its_rank(durations: list[float], q: float) -> None:
    told = quantile(counts_of(durations), q)
    ranked = sorted(durations)
    right = next(one for index, one in enumerate(ranked, 1) if index >= q * len(ranked))
    index = bucket(right)
    lowest = 0.0 if index == 0 else BOUNDS[index - 1]
    highest = BOUNDS[min(index, len(BOUNDS) - 1)]
    assert min(lowest, highest) <= told <= highest * (1 + 1e-9)


@given(st.lists(seconds), st.lists(seconds))
def test_counts_of_two_are_the_counts_of_both(one: list[float], other: list[float]) -> None:
    assert add(counts_of(one), counts_of(other)) == counts_of(one + other)


@given(seconds)
def test_each_duration_has_the_first_bucket_whose_bound_it_does_not_exceed(one: float) -> None:
    index = bucket(one)
    assert index == len(BOUNDS) or one <= BOUNDS[index]
    assert index == 0 or one > BOUNDS[index - 1]


@pytest.mark.parametrize(("one", "index"), [(-1.0, 0), (0.0, 0), (1.0, BOUNDS.index(1.0)), (inf, len(BOUNDS))])
def test_the_ends_have_buckets_too(one: float, index: int) -> None:
    assert bucket(one) == index


def test_without_durations_a_quantile_is_zero() -> None:
    assert quantile(EMPTY, 0.5) == 0.0
