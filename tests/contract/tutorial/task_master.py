"""python task_master.py HOST PORT KEY: puts ten numbers, reads ten results."""

import random
import sys
from multiprocessing.managers import BaseManager


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")


def main(host: str, port: str, key: str) -> None:
    manager = QueueManager(address=(host, int(port)), authkey=key.encode())
    manager.connect()
    task = manager.get_task_queue()  # type: ignore[attr-defined]
    result = manager.get_result_queue()  # type: ignore[attr-defined]
    for _ in range(10):
        n = random.randint(0, 10000)
        print(f"Put task {n}...")
        task.put(n)
    print("Try get results...")
    for _ in range(10):
        r = result.get(timeout=10)
        print(f"Result: {r}")
    print("master exit.")


if __name__ == "__main__":
    main(*sys.argv[1:])
