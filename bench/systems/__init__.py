"""The systems that are compared, each behind the same three methods (`System`), and the ways in which each is called.

This module imports none of them: `bench.systems.session` does, in a process of the system's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SINGLE, CHUNKED, FUTURES = "map(chunksize=1)", "map", "submit"
"""The ways of ours: each call a task of its own; many calls in one task; a task and a ``Future`` each."""


class System(Protocol):
    """Two worker processes, from the constructor on. ``keeps``: what it acknowledges is on the disk, by fsync."""

    def __init__(self, folder: Path, keeps: bool) -> None: ...

    def run(self, way: str, calls: int) -> list[int]:
        """``square`` of 0, 1, ... as that many calls; the results in any order."""

    def stop(self) -> None:
        """End what was started."""


@dataclass(frozen=True)
class Way:
    """One way to make calls; ``calls``: as many as take a second or two; ``beside``: the way of ours that it is compared with."""

    name: str
    calls: int
    beside: str = SINGLE


@dataclass(frozen=True)
class Entry:
    """A system as the measures know it.

    ``target``: its class, as ``module:name``. ``ways``: the last one is that of its idle round trip. ``keeps``: whether it
    is measured keeping nothing, keeping everything, or both. ``packages``: whose versions belong to its figures.
    ``environment``, ``alone``: as `bench.fresh.Call` has them.
    """

    name: str
    target: str
    ways: tuple[Way, ...]
    keeps: tuple[bool, ...] = (False,)
    packages: tuple[str, ...] = ()
    environment: str = ""
    alone: bool = False


OURS = Entry(
    "Taskyard",
    "bench.systems.ours:Ours",
    (Way(SINGLE, 100_000, SINGLE), Way(CHUNKED, 2_000_000, CHUNKED), Way(FUTURES, 50_000, FUTURES)),
    keeps=(True,),
)
STANDARD = (
    Entry("the tutorial's two queues", "bench.systems.tutorial:Tutorial", (Way("put and get, one task a call", 15_000),)),
    Entry(
        "multiprocessing.Pool(2)",
        "bench.systems.pools:Processes",
        (
            Way("imap_unordered(chunksize=1)", 100_000),
            Way("imap_unordered(chunksize=100)", 3_000_000, CHUNKED),
            Way("apply_async", 60_000, FUTURES),
        ),
    ),
    Entry(
        "ProcessPoolExecutor(2)",
        "bench.systems.pools:Executor",
        (Way("map(chunksize=1)", 20_000), Way("map(chunksize=100)", 1_500_000, CHUNKED), Way("submit", 20_000, FUTURES)),
    ),
)


def _peer(
    name: str,
    target: str,
    way: str,
    calls: int,
    *packages: str,
    keeps: tuple[bool, ...] = (False, True),
    environment: str = "peers",
    alone: bool = False,
) -> Entry:
    return Entry(name, f"bench.systems.{target}", (Way(way, calls),), keeps, packages, environment, alone)


PEERS = (
    _peer("Celery, Redis", "celery_redis:Celery", "delay, solo workers, results by MGET", 1_500, "celery", "kombu", "redis"),
    _peer("Dramatiq, Redis", "dramatiq_redis:Dramatiq", "send, 8 threads a worker", 3_000, "dramatiq", "redis"),
    _peer("RQ, Redis", "rq_redis:Rq", "enqueue_many, SimpleWorker", 1_000, "rq", "redis"),
    _peer("Huey, Redis", "huey_any:HueyRedis", "call", 5_000, "huey", "redis"),
    _peer("Huey, SQLite", "huey_any:HueySqlite", "call, polled each millisecond", 5_000, "huey"),
    _peer("SAQ, Redis", "saq_redis:Saq", "map", 2_000, "saq", "redis"),
    _peer("arq, Redis", "arq_redis:Arq", "enqueue_job, polled each 10 ms", 1_500, "arq", "redis", environment="arq"),
    _peer("TaskIQ, Redis streams", "taskiq_streams:Taskiq", "kiq", 1_500, "taskiq", "taskiq-redis", "redis"),
    _peer("Dask, LocalCluster", "dask_local:Dask", "map and gather", 1_000, "dask", "distributed", keeps=(False,), alone=True),
    _peer("Ray, local", "ray_local:Ray", "remote and get", 3_000, "ray", keeps=(False,), alone=True),
)
