"""TaskIQ on Redis streams: two worker processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.systems.asking import Loop, ask
from bench.systems.redis_server import URL, Redis
from bench.work import square

CHECK_SECONDS, WAIT_SECONDS = 0.001, 60


def make(url: str) -> tuple[Any, Any]:
    """The broker and the task, the same for client and workers."""
    broker = RedisStreamBroker(url).with_result_backend(RedisAsyncResultBackend(url))
    return broker, broker.register_task(square, task_name="square")


class Taskiq:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self._redis = Redis(folder, keeps)
        self._redis.start("taskiq", "worker", "bench.systems.taskiq_streams:broker", "--workers", "2", "--log-level", "WARNING")
        self._loop = Loop()
        self._broker, self._task = make(self._redis.url)
        self._loop.run(self._broker.startup())

    def run(self, way: str, calls: int) -> list[int]:
        return self._loop.run(self._run(calls))

    async def _run(self, calls: int) -> list[int]:
        handles = await ask(calls, self._task.kiq)
        ended = [await handle.wait_result(check_interval=CHECK_SECONDS, timeout=WAIT_SECONDS) for handle in handles]
        return [result.return_value for result in ended]

    def stop(self) -> None:
        self._loop.run(self._broker.shutdown())
        self._loop.close()
        self._redis.stop()


if URL in os.environ:
    broker, _ = make(os.environ[URL])
