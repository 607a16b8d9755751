"""arq on Redis: two worker processes, which poll; more often here than every half second, their default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from bench import work
from bench.systems.asking import Loop, ask
from bench.systems.redis_server import URL, Redis

WORKER_POLL_SECONDS, RESULT_POLL_SECONDS = 0.01, 0.001
WAIT_SECONDS = 60


async def square(_: dict[str, Any], n: int) -> int:
    """As arq's workers call it."""
    return work.square(n)


class WorkerSettings:
    """Read by arq's command."""

    functions = (square,)
    redis_settings = RedisSettings.from_dsn(os.environ.get(URL, "redis://127.0.0.1"))
    poll_delay = WORKER_POLL_SECONDS
    max_jobs = 100


class Arq:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self._redis = Redis(folder, keeps)
        self._redis.start("arq", "bench.systems.arq_redis.WorkerSettings", times=2)
        self._loop = Loop()
        self._pool = self._loop.run(create_pool(RedisSettings.from_dsn(self._redis.url)))

    def run(self, way: str, calls: int) -> list[int]:
        return self._loop.run(self._run(calls))

    async def _run(self, calls: int) -> list[int]:
        jobs = await ask(calls, lambda n: self._pool.enqueue_job("square", n))
        return [await job.result(timeout=WAIT_SECONDS, poll_delay=RESULT_POLL_SECONDS) for job in jobs]

    def stop(self) -> None:
        self._loop.run(self._pool.aclose())
        self._loop.close()
        self._redis.stop()
