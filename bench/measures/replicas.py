"""The replicated queue on one NATS server and on three, beside the queue of a single master and Celery, by workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cluster import start
from bench.fresh import Call
from bench.measures import Point, scaled
from bench.measures.growth import check
from bench.measures.rates import points_of
from bench.nats_servers import NatsServers
from bench.replicated import Replicated
from bench.systems import PEERS
from bench.tasks import nap, square
from taskyard import Cluster

SERVERS = 0, 1, 3
"""Of NATS; 0: one master alone. With three of them there are three masters too."""
WORKERS = 1, 2, 4, 8
SQUARES, NAPS = 50_000, 150
"""Calls that take no time, in all; and of `NAP_SECONDS`, for each worker."""
NAP_SECONDS = 0.01
TRIPS = 200
WARM_CALLS = 2000
MOST_ROUNDS = 3


def points(scale: float) -> list[Point]:
    """One point a number of servers and of workers; and Celery."""
    celery = points_of([peer for peer in PEERS if peer.name.startswith("Celery")], scale, 0)
    return [*(_point(servers, workers, scale) for servers in SERVERS for workers in WORKERS), *celery]


def _point(servers: int, workers: int, scale: float) -> Point:
    about = {"servers": servers, "workers": workers}
    numbers = {"squares": scaled(SQUARES, scale), "naps": scaled(NAPS, scale), "trips": scaled(TRIPS, scale)}
    name = f"{servers} NATS servers" if servers else "a master alone"
    return Point(f"{name}, {workers} workers", Call("bench.measures.replicas:measure", about | numbers), about)


def measure(folder: Path, servers: int, workers: int, squares: int, naps: int, trips: int) -> dict[str, Any]:
    """Seconds of calls that take no time, each a task of its own, and of naps; milliseconds of single calls, one by one."""
    with _cluster(folder, servers, workers) as cluster:
        seconds = timed(lambda: check(cluster.map(square, range(squares), chunksize=1), squares))
        nap_seconds = timed(lambda: list(cluster.map(nap, [NAP_SECONDS] * (naps * workers), chunksize=1)))
        milliseconds = sorted(1000 * timed(cluster.submit(square, n).result) for n in range(trips))
    return {
        "squares": squares,
        "seconds": seconds,
        "naps": naps * workers,
        "nap_seconds": nap_seconds,
        "trip": milliseconds[len(milliseconds) // 2],
    }


@contextmanager
def _cluster(folder: Path, servers: int, workers: int) -> Iterator[Cluster]:
    if not servers:
        with start(folder, workers, 1) as local:
            yield local
        return
    nats = NatsServers(folder / "nats", servers)
    try:
        with Replicated(folder, nats, masters=servers, workers=workers, app="bench.tasks") as queue, queue.client() as client:
            list(client.map(square, range(WARM_CALLS), chunksize=1))
            yield client
    finally:
        nats.stop()


def timed(run: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
