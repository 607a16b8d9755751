"""One system in one round: started, warmed, measured in each of its ways, stopped."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.systems import System
from bench.work import square

WARM_RUNS = 3, 10
"""So many at least and at most, of a twentieth of the calls; in between until one is no quicker than the one before."""
FASTER = 1.2
NOT_MEASURED = 20
"""Single calls before those whose time is taken."""


def play(
    folder: Path,
    target: str,
    keeps: bool,
    ways: Sequence[tuple[str, int]],
    rates: bool,
    trips: int,
    packages: Sequence[str],
) -> dict[str, Any]:
    """Seconds by way, with ``rates``; milliseconds of ``trips`` single calls in the last way, one by one; and versions."""
    module, _, name = target.partition(":")
    system: System = getattr(importlib.import_module(module), name)(folder, keeps)
    try:
        seconds = {}
        for way, calls in ways:
            warm(system, way, max(20, calls // 20))
            if rates:
                seconds[way] = timed(system, way, calls)
        single = ways[-1][0]
        milliseconds = [1000 * timed(system, single, 1) for _ in range(NOT_MEASURED + trips if trips else 0)][NOT_MEASURED:]
    finally:
        system.stop()
    return {
        "calls": dict(ways),
        "seconds": seconds,
        "trips": percentiles(milliseconds) if trips else None,
        "versions": {package: version(package) for package in packages},
    }


def warm(system: System, way: str, calls: int) -> None:
    """Run until both workers have had calls and nothing gets quicker any more."""
    least, most = WARM_RUNS
    before = float("inf")
    for run in range(most):
        now = timed(system, way, calls)
        if run + 1 >= least and now * FASTER > before:
            return
        before = now


def timed(system: System, way: str, calls: int) -> float:
    """Seconds from the first submit to the last result in hand. Raises ValueError where a result is wrong or missing."""
    begun = time.perf_counter()
    results = system.run(way, calls)
    seconds = time.perf_counter() - begun
    if sorted(results) != [square(n) for n in range(calls)]:
        raise ValueError(f"{way}: {len(results)} results of {calls} calls, and they are not the squares")
    return seconds


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The middle one, and that which 99 of 100 do not exceed."""
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}
