"""Huey on Redis and on SQLite: two worker processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import huey as library

from bench.systems.redis_server import URL, Programs, Redis
from bench.work import square

POLL_SECONDS = 0.001
WORKERS = ("--workers", "2", "--worker-type", "process", "--no-periodic", "--quiet")
KEPT = "?fsync"
"""Behind the file's name: each commit waits for the disk."""


def make(url: str) -> tuple[Any, Any]:
    """The queue and the task, the same for client and workers."""
    if url.startswith("redis:"):
        queue = library.RedisHuey("bench", url=url)
    else:
        queue = library.SqliteHuey("bench", filename=url.removesuffix(KEPT), fsync=url.endswith(KEPT))
    return queue, queue.task()(square)


class Huey:
    """See `bench.systems.System`."""

    def __init__(self, programs: Programs, *options: str) -> None:
        self._programs = programs
        self._programs.start("huey.bin.huey_consumer", "bench.systems.huey_any.huey", *WORKERS, *options)
        _, self._task = make(programs.url)

    def run(self, way: str, calls: int) -> list[int]:
        handles = [self._task(n) for n in range(calls)]
        return [handle.get(blocking=True, timeout=60, backoff=1, max_delay=POLL_SECONDS) for handle in handles]

    def stop(self) -> None:
        self._programs.stop()


class HueyRedis(Huey):
    """On Redis, which wakes the workers."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        super().__init__(Redis(folder, keeps))


class HueySqlite(Huey):
    """On SQLite, which they have to poll."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        polling = ("--delay", str(POLL_SECONDS), "--max-delay", str(POLL_SECONDS), "--backoff", "1")
        super().__init__(Programs(f"{folder / 'huey.db'}{KEPT if keeps else ''}"), *polling)


if URL in os.environ:
    huey, _ = make(os.environ[URL])
