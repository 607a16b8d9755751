"""From 1 slot to 128: whether each gets its share, and whether a task costs the master more where there are many.

The tasks sleep, so that two processors are enough, and the longer the more slots there are: the rate at which all slots
together could run them is always the same, and what the master does for a task can be compared.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import cluster
from bench.fresh import Call
from bench.measures import Point, scaled
from bench.tasks import nap

MOST_ROUNDS = 3
SLOTS = 1, 2, 8, 32, 128
TASKS_PER_SECOND = 1000
"""Of all slots together, if none ever waited."""
TASKS = 10_000
SLOTS_OF_WORKER = 8


def points(scale: float) -> list[Point]:
    """One point a number of slots."""
    return [
        Point(
            f"{slots} slots",
            Call("bench.measures.slots:share", {"slots": slots, "tasks": scaled(TASKS, scale, least=4 * slots)}),
            {"slots": slots},
        )
        for slots in SLOTS
    ]


def share(folder: Path, slots: int, tasks: int) -> dict[str, Any]:
    """How many tasks each slot ran, the seconds of all, and the CPU seconds by process."""
    of_worker = min(slots, SLOTS_OF_WORKER)
    seconds = slots / TASKS_PER_SECOND
    with cluster.start(folder, slots // of_worker, of_worker) as ours:
        list(ours.map(nap, [seconds] * (4 * slots), chunksize=1))  # each slot has begun
        before, begun = cluster.cpu_seconds(), time.perf_counter()
        ran = Counter(pid for pid, _, _ in ours.map(nap, [seconds] * tasks, chunksize=1))
        elapsed, after = time.perf_counter() - begun, cluster.cpu_seconds()
    return {
        "tasks": tasks,
        "seconds": elapsed,
        "least seconds": tasks / TASKS_PER_SECOND,
        "tasks of slots": sorted(ran.values()) if len(ran) == slots else [0] * (slots - len(ran)) + sorted(ran.values()),
        "cpu": {kind: after[kind] - before[kind] for kind in before},
    }
