"""Programs written against plain ``BaseManager`` only: kill a worker that waits in ``get()``, then put an item. N times.

Prints one JSON line: how many items reached another worker, and the longest that one took.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import sys
import time
from multiprocessing.managers import BaseManager
from pathlib import Path


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")


def join() -> QueueManager:
    manager = QueueManager(address=("master", 5000), authkey=Path("/run/taskyard/authkey").read_bytes().strip())
    manager.connect()
    return manager


def wait_for_ever(waiting: multiprocessing.Queue[int]) -> None:
    task = join().get_task_queue()  # type: ignore[attr-defined]
    waiting.put(os.getpid())
    task.get()


def main(rounds: int) -> None:
    context = multiprocessing.get_context("spawn")
    waiting = context.Queue()
    victims = [context.Process(target=wait_for_ever, args=(waiting,)) for _ in range(rounds)]
    for victim in victims:
        victim.start()
    for _ in victims:
        waiting.get()
    manager = join()
    task = manager.get_task_queue()  # type: ignore[attr-defined]
    reached, slowest = 0, 0.0
    for n, victim in enumerate(victims):
        # The survivor asks last, so whoever waits longest, the victim, is the next to be served.
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        started = time.monotonic()
        task.put(n)
        try:
            reached += task.get(timeout=5) == n
        except queue.Empty:
            pass
        slowest = max(slowest, time.monotonic() - started)
    print(json.dumps({"reached": reached, "slowest": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
