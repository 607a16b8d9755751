"""RQ on Redis: two ``SimpleWorker``, which run jobs without a fork for each; enqueued and fetched together."""

from __future__ import annotations

import os
from pathlib import Path

import redis
import rq
from rq.job import Job

from bench.systems.redis_server import URL, Redis
from bench.work import square


class Rq:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        self._redis = Redis(folder, keeps)
        self._redis.start("bench.systems.rq_redis", times=2)
        self._connection = redis.Redis.from_url(self._redis.url)
        self._queue = rq.Queue(connection=self._connection)

    def run(self, way: str, calls: int) -> list[int]:
        jobs = self._queue.enqueue_many([rq.Queue.prepare_data(square, (n,)) for n in range(calls)])
        waiting = [job.id for job in jobs]
        results: list[int] = []
        while waiting:
            found = Job.fetch_many(waiting, connection=self._connection)
            ended = [job for job in found if job is not None and job.is_finished]
            results += [job.return_value() for job in ended]
            waiting = [job_id for job_id in waiting if job_id not in {job.id for job in ended}]
        return results

    def stop(self) -> None:
        self._redis.stop()


if __name__ == "__main__":
    connection = redis.Redis.from_url(os.environ[URL])
    rq.SimpleWorker([rq.Queue(connection=connection)], connection=connection).work(logging_level="WARNING")
