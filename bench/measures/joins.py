"""Connections a second: what a client or a slot does before its first call."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import cluster
from bench.fresh import Call
from bench.measures import Point, scaled
from taskyard import LocalCluster

JOINS = 1_000
AT_ONCE = 1, 8


def points(scale: float) -> list[Point]:
    """One point a number of programs that join at the same time."""
    joins = scaled(JOINS, scale)
    return [
        Point(
            f"{at_once} at once",
            Call("bench.measures.joins:join_all", {"at_once": at_once, "joins": joins}),
            {"at once": at_once},
        )
        for at_once in AT_ONCE
    ]


def join_all(folder: Path, at_once: int, joins: int) -> dict[str, Any]:
    """Seconds of so many joins: connected, authenticated, first call answered, left again."""
    with cluster.start(folder) as ours, ThreadPoolExecutor(at_once) as threads:
        begun = time.perf_counter()
        for _ in threads.map(join, [ours] * joins):
            pass
        return {"joins": joins, "seconds": time.perf_counter() - begun}


def join(ours: LocalCluster) -> None:
    """Join and leave."""
    with ours.queue.another(10.0, "bench") as queue:
        queue.connect()
