"""Celery on Redis: two workers with the pool ``solo``, and results fetched together, which is quicker than one by one."""

from __future__ import annotations

import os
from pathlib import Path

import celery

from bench.systems.redis_server import URL, Redis
from bench.work import square

PREFETCHED = 64


def make(url: str) -> celery.Celery:
    """The application, the same for client and workers."""
    app = celery.Celery("bench", broker=f"{url}/0", backend=f"{url}/1")
    app.conf.update(worker_prefetch_multiplier=PREFETCHED, worker_send_task_events=False)
    app.task(square, name="square")
    return app


class Celery:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self._redis = Redis(folder, keeps)
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR")
        self._redis.start("celery", "-A", "bench.systems.celery_redis", "worker", "--pool", "solo", *quiet, times=2)
        self._app = make(self._redis.url)

    def run(self, way: str, calls: int) -> list[int]:
        task, backend = self._app.tasks["square"], self._app.backend
        waiting = [backend.get_key_for_task(task.delay(n).id) for n in range(calls)]
        results: list[int] = []
        while waiting:
            found = backend.mget(waiting)
            results += [backend.decode_result(value)["result"] for value in found if value]
            waiting = [key for key, value in zip(waiting, found, strict=True) if not value]
        return results

    def stop(self) -> None:
        self._redis.stop()


if URL in os.environ:
    app = make(os.environ[URL])
