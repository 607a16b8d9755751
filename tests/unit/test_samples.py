"""Samples of the queue, put together."""

from __future__ import annotations

from taskyard.histogram import EMPTY, bucket
from taskyard.model import Sample
from taskyard.samples import merged, only_levels


def sample(at: float, seconds: float, ready: int, done: int, wait: float) -> Sample:
    waits = list(EMPTY)
    waits[bucket(wait)] = done
    return Sample(at, seconds, ready, 1, 2, 3, done, done, 4, 5, tuple(waits), EMPTY)


def test_samples_together_have_the_levels_of_the_last_and_the_sums_of_what_was_counted() -> None:
    both = merged([sample(10, 10, 7, 2, 0.1), sample(20, 10, 9, 3, 5.0)], 30, 30)
    assert both[:9] == (30, 30, 9, 1, 2, 3, 5, 5, 8)
    assert both.cancelled == 10
    assert (both.wait[bucket(0.1)], both.wait[bucket(5.0)], sum(both.wait)) == (2, 3, 5)


def test_a_sample_that_is_longer_than_the_step_keeps_its_length_so_that_rates_are_right() -> None:
    assert merged([sample(600, 600, 0, 60, 0.1), sample(610, 10, 0, 1, 0.1)], 610, 10).seconds == 600


def test_where_only_levels_count_nothing_else_is_told() -> None:
    assert only_levels(sample(10, 10, 7, 2, 0.1)) == Sample(10, 0, 7, 1, 2, 3, 0, 0, 0, 0, EMPTY, EMPTY)
