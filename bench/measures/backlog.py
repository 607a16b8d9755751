"""Tasks waiting: what they take of the master's memory, how fast they are taken in, and how long the master's start takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import psutil

from bench.fresh import Call
from bench.measures import Point, scaled
from bench.tasks import square
from taskyard import Cluster

MOST_ROUNDS = 3
WAITING = 0, 100_000, 1_000_000
CLIENT_CALLS = 50_000
"""One client makes so many; what it holds of them is let go with it."""
START_SECONDS = 120.0
AUTHKEY = "of the backlog"


def points(scale: float) -> list[Point]:
    """One point a number of tasks."""
    return [
        Point(f"{waiting:,} waiting", Call("bench.measures.backlog:pile", {"waiting": waiting}), {"waiting": waiting})
        for waiting in (scaled(waiting, scale, least=0) for waiting in WAITING)
    ]


def pile(folder: Path, waiting: int) -> dict[str, Any]:
    """Fill a master that has no workers; look at it; start it again, until it serves and until it has lent a task."""
    with Master(folder) as master:
        begun = time.perf_counter()
        for first in range(0, waiting, CLIENT_CALLS):
            client = Cluster(master.url, AUTHKEY.encode(), job=f"waiting-{first}")
            for n in range(first, min(first + CLIENT_CALLS, waiting)):
                client.submit(square, n)
            client.detach()
        filling = time.perf_counter() - begun
        full = master.memory()
    begun = time.perf_counter()
    with Master(folder) as master:
        serves = time.perf_counter() - begun
        with Cluster(master.url, AUTHKEY.encode()) as client:
            ready = client.queue.stats()["ready"]
            if waiting:
                client.queue.lease("bench", 1, START_SECONDS)
            lends = time.perf_counter() - begun
        started = master.memory()
    if ready != waiting:
        raise ValueError(f"{ready} tasks of {waiting} were there after the master's start")
    return {
        "waiting": waiting,
        "filling": filling,
        "memory": full,
        "memory after start": started,
        "serves": serves,
        "lends": lends,
    }


class Master:
    """A ``python -m master`` on a folder, within a with block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        address = self._folder / "address"
        address.unlink(missing_ok=True)
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TASKYARD", "MASTER"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "master"],
            cwd=self._folder,
            env={
                **plain,
                "TASKYARD_AUTHKEY": AUTHKEY,
                "MASTER_PORT": "0",
                "MASTER_DATA": str(self._folder / "data"),
                "MASTER_HEALTH_FILE": str(self._folder / "health"),
                "MASTER_ADDRESS_FILE": str(address),
            },
        )
        deadline = time.monotonic() + START_SECONDS
        while not address.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("the master does not serve")
            time.sleep(0.002)  # there is no word of it but the file
        self.url = f"manager://{address.read_text().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def memory(self) -> int:
        """Bytes that it has in memory now."""
        return int(psutil.Process(self._process.pid).memory_info().rss)
