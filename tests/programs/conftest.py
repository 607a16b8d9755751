"""Masters, workers and clients that end with their test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskyard import Cluster
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.tasks import Gate
from tests.programs.worker_process import WorkerProcess

StartWorker = Callable[..., WorkerProcess]
Connect = Callable[[MasterProcess], Cluster]
SOON = 15.0
"""Seconds: less than a worker's usual grace (20), far less than a task that never ends."""


@pytest.fixture(scope="module")
def master(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    """A running master, shared by the tests of a file that leave it running; MASTER of the file: its settings."""
    process = MasterProcess(tmp_path_factory.mktemp("master"), **getattr(request.module, "MASTER", {}))
    process.start()
    yield process
    ended = process.process is None or process.process.poll() is not None
    process.close()
    assert not ended, f"the master ended by itself: {process.log()}"


@pytest.fixture(scope="module")
def worker(
    request: pytest.FixtureRequest, master: MasterProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A running worker of that master, shared likewise; WORKER of the file: its settings."""
    process = WorkerProcess(master, tmp_path_factory.mktemp("workers") / "shared", **getattr(request.module, "WORKER", {}))
    yield process
    process.close()


@pytest.fixture
def own_master(tmp_path: Path) -> Iterator[MasterProcess]:
    """A master of the test's own, not started yet."""
    process = MasterProcess(tmp_path / "master")
    yield process
    process.close()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers of the test's own."""
    started: list[WorkerProcess] = []

    def start(master: MasterProcess, **settings: Any) -> WorkerProcess:
        started.append(WorkerProcess(master, tmp_path / f"worker-{len(started)}", **settings))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients; what they still wait for at the end of the test is cancelled."""
    made: list[Cluster] = []

    def make(master: MasterProcess) -> Cluster:
        made.append(Cluster(master.url, AUTHKEY, patience=20))
        return made[-1]

    yield make
    for cluster in made:
        InThread(partial(leave, cluster)).result(10)


def leave(cluster: Cluster) -> None:
    """End a client whatever it waits for, with a master or without."""
    exchange = cluster._exchange
    exchange.stop()
    exchange._calls.cancel(list(exchange._calls))
    exchange.abandon()
    cluster.queue.close()


@pytest.fixture
def cluster(master: MasterProcess, connect: Connect) -> Cluster:
    """A client of the file's master."""
    return connect(master)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


# What local clusters start


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Stands in the environment of all that this test starts."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("TEST_MARK", mark)
    return mark


def programs(mark: str, words: str = "") -> list[psutil.Process]:
    """What runs with the mark, beside this process: masters, workers and slots; ``words``: of its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("TEST_MARK") == mark and words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue  # it has just ended, or is not ours
    return found


@pytest.fixture
def nothing_is_left(mark: str) -> Iterator[Callable[[], None]]:
    """Wait until all that was started has ended."""

    def wait() -> None:
        wait_until(lambda: not programs(mark), "nothing is left", SOON)

    yield wait
    for process in programs(mark):
        process.kill()
