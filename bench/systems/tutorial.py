"""The tutorial: two ``queue.Queue`` on a ``BaseManager``, two worker processes, one task a call, nothing kept, over TCP."""

from __future__ import annotations

import multiprocessing
import queue
from multiprocessing.managers import BaseManager
from pathlib import Path

AUTHKEY = b"abc"
_tasks: queue.Queue[int] = queue.Queue()
_results: queue.Queue[int] = queue.Queue()


class QueueManager(BaseManager):
    """As the tutorial has it."""


def task_queue() -> queue.Queue[int]:
    """A lambda could not be pickled."""
    return _tasks


def result_queue() -> queue.Queue[int]:
    """A lambda could not be pickled."""
    return _results


QueueManager.register("get_task_queue", callable=task_queue)
QueueManager.register("get_result_queue", callable=result_queue)


class Tutorial:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        assert not keeps
        self._manager = QueueManager(address=("127.0.0.1", 0), authkey=AUTHKEY)
        self._manager.start()
        self._tasks = self._manager.get_task_queue()  # type: ignore[attr-defined]
        self._results = self._manager.get_result_queue()  # type: ignore[attr-defined]
        self._workers = [multiprocessing.Process(target=work, args=(self._manager.address,), daemon=True) for _ in range(2)]
        for worker in self._workers:
            worker.start()

    def run(self, way: str, calls: int) -> list[int]:
        for n in range(calls):
            self._tasks.put(n)
        return [self._results.get(timeout=60) for _ in range(calls)]

    def stop(self) -> None:
        for worker in self._workers:
            worker.terminate()
            worker.join()
        self._manager.shutdown()


def work(address: tuple[str, int]) -> None:
    """The tutorial's worker, which goes on when there is nothing to do."""
    manager = QueueManager(address=address, authkey=AUTHKEY)
    manager.connect()
    tasks = manager.get_task_queue()  # type: ignore[attr-defined]
    results = manager.get_result_queue()  # type: ignore[attr-defined]
    while True:
        try:
            n = tasks.get(timeout=1)
        except queue.Empty:
            continue
        results.put(n * n)
