"""Submit N short tasks, check every result, print one JSON line: when each result came, and what was wrong."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import Future

from taskyard import Cluster
from taskyard.settings import find_authkey, load_settings
from taskyard.transport import RemoteQueue
from tests.cluster.driver.tasks import square_after


def results_of(job: str) -> tuple[list[str], list[int]]:
    """What the queue itself says: the id of each result, and its attempts."""
    settings = load_settings()
    ids, attempts, after = [], [], 0
    with RemoteQueue(settings.taskyard_url, find_authkey(settings)) as queue:
        while page := queue.results(job, after, 5000, 0):
            ids += [result.id for result in page]
            attempts += [result.attempts for result in page]
            after = page[-1].cursor
    return ids, attempts


def main(count: int, seconds: float) -> None:
    came: list[float] = []
    with Cluster() as cluster:

        def note(_: Future[int]) -> None:
            came.append(time.time())
            if len(came) % 500 == 0:
                print(json.dumps({"came": len(came)}), flush=True)

        futures = []
        for n in range(count):
            futures.append(cluster.submit(square_after, n, seconds))
            futures[-1].add_done_callback(note)
        print(json.dumps({"submitted": count, "job": cluster.job_id}), flush=True)
        wrong = [n for n, future in enumerate(futures) if future.exception() is not None or future.result() != n * n]
    ids, attempts = results_of(cluster.job_id)
    print(
        json.dumps(
            {
                "results": len(ids),
                "distinct": len(set(ids)),
                "wrong": wrong,
                "times": [round(when, 4) for when in came],
                "most_attempts": max(attempts),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
