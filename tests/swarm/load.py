"""Call task NAME N times, each SECONDS of work, and check every result.

Prints JSON lines: how many came; at the end when each did, from which workers, and what was wrong. What this client saw and
what the queue tells are one history, which is judged.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import Future

from taskyard import Cluster
from taskyard.codec import decode
from taskyard.history import End, Event, faults
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue

PATIENCE = 300.0


def ends_of(job: str) -> list[Event]:
    """What the queue itself says."""
    settings = load_settings()
    found: list[Event] = []
    after = 0
    with RemoteQueue(settings.taskyard_url, find_authkey(settings)) as queue:
        while page := queue.results(job, after, 5000, 0):
            for result in page:
                value = decode(result.value)[0] if result.state == "done" else None
                found.append(Event("ended", result.id, result.cursor, End(result.state, value, result.attempts)))
            after = page[-1].cursor
    return found


def main(name: str, count: int, seconds: float) -> None:
    came: list[float] = []
    hosts: set[str] = set()
    answered: list[Event] = []
    with Cluster(patience=PATIENCE) as cluster:

        def note(future: Future[tuple[int, str]]) -> None:
            came.append(time.time())
            end = End("failed", None)
            if future.exception() is None:
                value, host = future.result()
                hosts.add(host)
                end = End("done", value)
            answered.append(Event("answered", future.task_id, 0, end))  # type: ignore[attr-defined]
            if len(came) % 500 == 0:
                print(json.dumps({"came": len(came)}), flush=True)

        futures: list[Future[tuple[int, str]]] = []
        for n in range(count):
            futures.append(cluster.submit(name, n, seconds))
            futures[-1].add_done_callback(note)
        print(json.dumps({"came": 0}), flush=True)
        wrong = [n for n, future in enumerate(futures) if future.exception() or future.result()[0] != n * n]
        why = sorted({str(future.exception()) for future in futures if future.exception()})
    ids = [future.task_id for future in futures]  # type: ignore[attr-defined]
    sent = [Event(what, task_id) for what in ("submitted", "acknowledged") for task_id in ids]
    ended = ends_of(cluster.job_id)
    verdict = {
        "results": len(ended),
        "faults": faults([*sent, *answered, *ended]),
        "wrong": wrong[:5],
        "why": why[:5],
        "hosts": sorted(hosts),
        "times": [round(when, 3) for when in came],
        "most_attempts": max(event.end.attempts for event in ended if event.end is not None),
    }
    print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
