"""Long tasks: whether slots stay busy, and whether short tasks of another client come through between them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from bench import cluster
from bench.fresh import Call
from bench.measures import Point, scaled
from bench.systems.session import NOT_MEASURED, percentiles
from bench.tasks import nap
from taskyard import LocalCluster

MOST_ROUNDS = 3
SLOTS = 8
LONG_SECONDS, SHORT_SECONDS = 1.0, 0.001
TASKS_OF_SLOT = 20
LONG_AT_ONCE = SLOTS // 2
"""The long tasks of one client have half of the slots all the time; the other half is free for the short ones."""
TRIPS = 1_000

Nap = tuple[int, float, float]


def points(scale: float) -> list[Point]:
    """Long tasks alone, and short ones alone and beside long ones."""
    trips = scaled(TRIPS, scale)
    return [
        Point("long tasks", Call("bench.measures.sharing:fill", {"tasks": SLOTS * scaled(TASKS_OF_SLOT, scale, least=2)}), {}),
        Point("short tasks alone", Call("bench.measures.sharing:mix", {"trips": trips, "beside": False}), {"beside": False}),
        Point(
            "short tasks beside long ones", Call("bench.measures.sharing:mix", {"trips": trips, "beside": True}), {"beside": True}
        ),
    ]


def fill(folder: Path, tasks: int) -> dict[str, Any]:
    """The share of their time that slots were busy: from the first task's begin to the last one's end, and between tasks."""
    with cluster.start(folder, slots=SLOTS) as ours:
        naps = list(ours.map(nap, [LONG_SECONDS] * tasks, chunksize=1))
    begun, ended = min(nap[1] for nap in naps), max(nap[2] for nap in naps)
    busy = sum(end - begin for _, begin, end in naps)
    return {
        "tasks": tasks,
        "seconds": ended - begun,
        "busy": busy / (SLOTS * (ended - begun)),
        "gap": max(_gaps(naps), default=0.0),
    }


def _gaps(naps: Sequence[Nap]) -> list[float]:
    """Seconds between the end of a task and the begin of the next one of its slot."""
    of_slots: dict[int, list[Nap]] = defaultdict(list)
    for one in naps:
        of_slots[one[0]].append(one)
    return [
        after[1] - before[2]
        for those in of_slots.values()
        for before, after in zip(sorted(those), sorted(those)[1:], strict=False)
    ]


def mix(folder: Path, trips: int, beside: bool) -> dict[str, Any]:
    """Milliseconds of short tasks, one by one; ``beside``: while another client keeps half of the slots with long ones."""
    with cluster.start(folder, slots=SLOTS) as ours, Beside(ours, LONG_AT_ONCE if beside else 0):
        milliseconds = []
        for _ in range(NOT_MEASURED + trips):
            begun = time.perf_counter()
            ours.submit(nap, SHORT_SECONDS).result()
            milliseconds.append(1000 * (time.perf_counter() - begun))
    return {"trips": percentiles(milliseconds[NOT_MEASURED:])}


class Beside:
    """Another client with so many long tasks under way at any time, within a with block."""

    def __init__(self, ours: LocalCluster, long_tasks: int) -> None:
        self._client = cluster.another_client(ours) if long_tasks else None
        self._long_tasks = long_tasks
        self._leaving, self._begun = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_busy, daemon=True)

    def __enter__(self) -> None:
        if self._client is not None:
            self._thread.start()
            self._begun.wait()

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._leaving.set()
            self._thread.join()
            self._client.shutdown(cancel_futures=True)

    def _keep_busy(self) -> None:
        assert self._client is not None
        under_way: set[Future[Nap]] = set()
        while not self._leaving.is_set():
            while len(under_way) < self._long_tasks:
                under_way.add(self._client.submit(nap, LONG_SECONDS))
            _, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            self._begun.set()
