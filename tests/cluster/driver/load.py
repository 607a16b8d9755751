"""Submit N short tasks, check every result, print one JSON line: when each result came, and what was wrong.

What this client saw and what the queue tells are one history, which is judged.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future

from taskyard import Cluster
from taskyard.codec import decode
from taskyard.history import End, Event, faults
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue
from tests.cluster.driver.tasks import square_after


def ends_of(job: str) -> Iterator[Event]:
    """What the queue itself says."""
    settings = load_settings()
    after = 0
    with RemoteQueue(settings.taskyard_url, find_authkey(settings)) as queue:
        while page := queue.results(job, after, 5000, 0):
            for result in page:
                value = decode(result.value) if result.state == "done" else None
                yield Event("ended", result.id, result.cursor, End(result.state, value, result.attempts))
            after = page[-1].cursor


def main(count: int, seconds: float) -> None:
    came: list[float] = []
    answered: list[Event] = []
    with Cluster() as cluster:

        def note(future: Future[int]) -> None:
            came.append(time.time())
            end = End("done", future.result()) if future.exception() is None else End("failed", None)
            answered.append(Event("answered", future.task_id, 0, end))  # type: ignore[attr-defined]
            if len(came) % 500 == 0:
                print(json.dumps({"came": len(came)}), flush=True)

        futures = []
        for n in range(count):
            futures.append(cluster.submit(square_after, n, seconds))
            futures[-1].add_done_callback(note)
        print(json.dumps({"submitted": count, "job": cluster.job_id}), flush=True)
        wrong = [n for n, future in enumerate(futures) if future.exception() is not None or future.result() != n * n]
    ids = [future.task_id for future in futures]  # type: ignore[attr-defined]
    sent = [Event(what, task_id) for what in ("submitted", "acknowledged") for task_id in ids]
    ended = list(ends_of(cluster.job_id))
    print(
        json.dumps(
            {
                "results": len(ended),
                "faults": faults([*sent, *answered, *ended]),
                "wrong": wrong,
                "times": [round(when, 4) for when in came],
                "most_attempts": max(event.end.attempts for event in ended if event.end is not None),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
