"""Whether a run of many calls costs more a call than one of few."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import cluster
from bench.fresh import Call
from bench.measures import Point, scaled
from bench.systems import CHUNKED, SINGLE
from bench.tasks import square

CALLS = 10_000, 100_000, 1_000_000


def points(scale: float) -> list[Point]:
    """One point a number of calls."""
    return [
        Point(f"{calls:,} calls", Call("bench.measures.growth:grow", {"calls": calls}), {"calls": calls})
        for calls in (scaled(calls, scale) for calls in CALLS)
    ]


def grow(folder: Path, calls: int) -> dict[str, Any]:
    """Seconds of so many single tasks, and of as many calls with ``map``'s own chunking, each on a queue that was empty."""
    seconds = {}
    for way, chunksize in ((SINGLE, 1), (CHUNKED, None)):
        with cluster.start(folder / way) as ours:
            begun = time.perf_counter()
            check(ours.map(square, range(calls), chunksize=chunksize), calls)
            seconds[way] = time.perf_counter() - begun
    return {"calls": calls, "seconds": seconds}


def check(results: Iterable[int], calls: int) -> None:
    """Take results as they come, so that a million of them are never held together. Raises ValueError for a wrong one."""
    taken = 0
    for n, result in enumerate(results):
        if result != n * n:
            raise ValueError(f"the square of {n} is not {result}")
        taken += 1
    if taken != calls:
        raise ValueError(f"{taken} results of {calls} calls")
