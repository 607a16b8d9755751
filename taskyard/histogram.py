"""Durations as counts by bucket: small, mergeable, and good enough for a median."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS: tuple[float, ...] = tuple(float(f"{10 ** (step / 4):.3g}") for step in range(-16, 21))
"""Upper bounds of the buckets in seconds, four a decade: from 0.1 ms to 100,000 s (28 hours). One more bucket is for what took
longer. A quantile is at most a factor 1.8 off, mostly much less."""
EMPTY: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)


def bucket(seconds: float) -> int:
    """Index of the bucket that has durations of so many seconds; negative ones, of clocks that were set, count as zero."""
    return bisect_left(BOUNDS, seconds)


def add(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The counts of both."""
    return tuple(map(int.__add__, one, other))


def quantile(counts: Sequence[int], q: float) -> float:
    """Seconds below which the share ``q`` (0 to 1) of the durations is, interpolated within its bucket by their logarithms; 0
    without any. What is longer than the last bound counts as that."""
    total = sum(counts)
    if not total:
        return 0.0
    rank = min(max(q, 0.0), 1.0) * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            low = BOUNDS[index - 1] if index else high / 10
            return float(low * (high / low) ** ((rank - below) / count))
        below += count
    return BOUNDS[-1]
