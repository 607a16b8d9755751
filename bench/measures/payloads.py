"""Arguments and results of 10 bytes to 1 MB."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench import cluster
from bench.fresh import Call
from bench.measures import Point, scaled
from bench.tasks import echo

SIZES = {10: 50_000, 1_000: 30_000, 100_000: 1_000, 1_000_000: 100}
"""Bytes, and how many calls take a second or two."""


def points(scale: float) -> list[Point]:
    """One point a size."""
    return [
        Point(
            f"{size:,} B", Call("bench.measures.payloads:echo_all", {"size": size, "calls": scaled(calls, scale)}), {"size": size}
        )
        for size, calls in SIZES.items()
    ]


def echo_all(folder: Path, size: int, calls: int) -> dict[str, Any]:
    """Seconds of so many single tasks, each of which gets so many bytes and gives them back."""
    data = bytes(n % 251 for n in range(size))
    with cluster.start(folder) as ours:
        list(ours.map(echo, [data] * max(4, calls // 20), chunksize=1))
        begun = time.perf_counter()
        returned = sum(result == data for result in ours.map(echo, [data] * calls, chunksize=1))
        seconds = time.perf_counter() - begun
    if returned != calls:
        raise ValueError(f"{calls - returned} of {calls} came back wrong")
    return {"calls": calls, "seconds": seconds}
