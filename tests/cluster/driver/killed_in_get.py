"""Programs written against plain ``BaseManager`` only: kill a worker that waits in ``get()``, then put an item. N times.

Prints one JSON line: how many items reached another worker, and the longest that one took.
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import sys
import threading
import time
from multiprocessing.connection import Connection
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


def wait_for_ever(parent: Connection[bool, bool]) -> None:
    task = join().get_task_queue()  # type: ignore[attr-defined]
    threading.Thread(target=tell_when_it_waits, args=(threading.get_ident(), parent), daemon=True).start()
    task.get()


def tell_when_it_waits(thread: int, parent: Connection[bool, bool]) -> None:
    """The request has gone out once the thread's ``get`` reads the answer."""
    while True:
        calls, frame = [], sys._current_frames()[thread]
        while frame.f_back is not None:
            calls.append((frame.f_code.co_name, frame.f_locals.get("methodname")))
            frame = frame.f_back
        if ("_callmethod", "get") in calls and calls[0][0] in ("recv", "_recv", "_recv_bytes", "recv_bytes"):
            parent.send(True)
            return
        time.sleep(0.001)


def main(rounds: int) -> None:
    context = multiprocessing.get_context("spawn")
    task = join().get_task_queue()  # type: ignore[attr-defined]
    reached, slowest = 0, 0.0
    for n in range(rounds):
        waiting, child = context.Pipe()
        victim = context.Process(target=wait_for_ever, args=(child,))
        victim.start()
        waiting.recv()
        victim.kill()
        victim.join()
        started = time.monotonic()
        # Whoever has waited longest, the victim, is the next to be served; the survivor asks last.
        task.put(n)
        try:
            reached += task.get(timeout=5) == n
        except queue.Empty:
            pass
        slowest = max(slowest, time.monotonic() - started)
    print(json.dumps({"reached": reached, "slowest": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
