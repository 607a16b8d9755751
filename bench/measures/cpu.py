"""CPU seconds of a task, by process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench import cluster
from bench.fresh import Call
from bench.measures import Point, scaled
from bench.systems import OURS
from bench.systems.ours import Ours


def points(scale: float) -> list[Point]:
    """One point a way of calling."""
    return [
        Point(way.name, Call("bench.measures.cpu:spend", {"way": way.name, "calls": scaled(way.calls, scale)}), {"way": way.name})
        for way in OURS.ways
    ]


def spend(folder: Path, way: str, calls: int) -> dict[str, Any]:
    """Seconds, and CPU seconds by process."""
    ours = Ours(folder, keeps=True)
    try:
        ours.run(way, max(1, calls // 20))
        before, begun = cluster.cpu_seconds(), time.perf_counter()
        ours.run(way, calls)
        seconds, after = time.perf_counter() - begun, cluster.cpu_seconds()
    finally:
        ours.stop()
    return {"calls": calls, "seconds": seconds, "cpu": {kind: after[kind] - before[kind] for kind in before}}
