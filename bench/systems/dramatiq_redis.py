"""Dramatiq on Redis: two processes with 8 threads each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.systems.redis_server import URL, Redis
from bench.work import square

WAIT_MS = 60_000


def make(url: str) -> Any:
    """The actor, the same for client and workers."""
    broker = RedisBroker(url=url)
    broker.add_middleware(Results(backend=RedisBackend(url=url)))
    return dramatiq.actor(square, broker=broker, store_results=True)


class Dramatiq:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self._redis = Redis(folder, keeps)
        self._redis.start("dramatiq", "bench.systems.dramatiq_redis:broker", "--processes", "2", "--threads", "8")
        self._actor = make(self._redis.url)

    def run(self, way: str, calls: int) -> list[int]:
        sent = [self._actor.send(n) for n in range(calls)]
        backend = self._actor.broker.get_results_backend()
        return [message.get_result(backend=backend, block=True, timeout=WAIT_MS) for message in sent]

    def stop(self) -> None:
        self._redis.stop()


if URL in os.environ:
    broker = make(os.environ[URL]).broker
