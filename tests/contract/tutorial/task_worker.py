"""python task_worker.py HOST PORT KEY [spawn]: squares numbers until there are none."""

import multiprocessing
import queue
import sys
from multiprocessing.managers import BaseManager


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")


def main(host: str, port: str, key: str) -> None:
    print(f"Connect to server {host}...")
    manager = QueueManager(address=(host, int(port)), authkey=key.encode())
    manager.connect()
    task = manager.get_task_queue()  # type: ignore[attr-defined]
    result = manager.get_result_queue()  # type: ignore[attr-defined]
    for _ in range(10):
        try:
            n = task.get(timeout=1)
            print(f"run task {n} * {n}...")
            r = f"{n} * {n} = {n * n}"
            result.put(r)
        except queue.Empty:
            print("task queue is empty.")
    print("worker exit.")


if __name__ == "__main__":
    if sys.argv[4:] == ["spawn"]:
        process = multiprocessing.get_context("spawn").Process(target=main, args=sys.argv[1:4])
        process.start()
        process.join()
        sys.exit(process.exitcode)
    main(*sys.argv[1:])
