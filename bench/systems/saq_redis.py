"""SAQ on Redis: two worker processes, woken by it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import saq

from bench import work
from bench.systems.asking import Loop
from bench.systems.redis_server import URL, Redis

POLL_SECONDS, WAIT_SECONDS = 0.002, 60
RETRIES = 3
"""Its workers look for stuck jobs now and then, and take some that another one has just begun for such."""
CONCURRENCY = 10


async def square(_: dict[str, Any], *, n: int) -> int:
    """As SAQ's workers call it."""
    return work.square(n)


class Saq:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self._redis = Redis(folder, keeps)
        self._redis.start("saq", "bench.systems.saq_redis.settings", "--quiet", times=2)
        self._loop = Loop()
        self._queue = saq.Queue.from_url(self._redis.url)
        self._loop.run(self._queue.connect())

    def run(self, way: str, calls: int) -> list[int]:
        arguments = [{"n": n} for n in range(calls)]
        made = self._queue.map("square", arguments, timeout=WAIT_SECONDS, poll_interval=POLL_SECONDS, retries=RETRIES)
        results: list[int] = self._loop.run(made)
        return results

    def stop(self) -> None:
        self._loop.run(self._queue.disconnect())
        self._loop.close()
        self._redis.stop()


if URL in os.environ:
    settings = {"queue": saq.Queue.from_url(os.environ[URL]), "functions": [square], "concurrency": CONCURRENCY}
