"""A thousand workers on one master: what their waiting costs it, and whoever brings a task."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from statistics import median

import psutil
import pytest

from taskyard.errors import Unreachable
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import done, task, wait_until
from tests.measured import tell

pytestmark = pytest.mark.alone

FEW, MANY = 4, 1000
TRIPS, TASKS = 200, 10_000
DESCRIPTORS = 4096
"""This process and the master need one a connection, more than a login's usual 1024."""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[MasterProcess]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(DESCRIPTORS, before[1])), before[1]))
    with MasterProcess(tmp_path) as process:
        yield process
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def workers(master: MasterProcess, count: int) -> Iterator[SimpleQueue[tuple[str, float]]]:
    """So many connections that wait for a task each, settle it and wait for the next; gives ids as they are leased, and when."""
    leased: SimpleQueue[tuple[str, float]] = SimpleQueue()

    def work(queue: RemoteQueue, session: str) -> None:
        try:
            queue.heartbeat(session, {"host": "h", "slots": 1})
            while True:
                for lease in queue.lease(session, 1, 20.0):
                    leased.put((lease.id, time.perf_counter()))
                    queue.settle(session, [done(lease)])
        except Unreachable:
            pass  # it was closed

    queues = [master.queue() for _ in range(count)]
    threads = [threading.Thread(target=work, args=(queue, f"s{n}"), daemon=True) for n, queue in enumerate(queues)]
    for thread in threads:
        thread.start()
    with master.queue() as client:
        wait_until(lambda: len(client.workers()) == count, "all workers are there", 60)
    try:
        yield leased
    finally:
        for queue in queues:
            queue.close()
        for thread in threads:
            thread.join(30)


def milliseconds_to_a_worker(client: RemoteQueue, leased: SimpleQueue[tuple[str, float]], job: str) -> float:
    """Median from a submit's beginning to the lease in a worker's hand, one task at a time."""
    taken = []
    for n in range(TRIPS):
        begun = time.perf_counter()
        client.submit([task(f"{job}-{n}", job=job)])
        task_id, at = leased.get(timeout=20)
        assert task_id == f"{job}-{n}"
        taken.append(1000 * (at - begun))
    return median(taken)


def test_a_thousand_workers_wait_without_threads_or_memory_and_a_task_reaches_one_of_them_as_fast_as_one_of_four(
    master: MasterProcess,
) -> None:
    assert master.process is not None
    process = psutil.Process(master.process.pid)
    with master.queue() as client:
        with workers(master, FEW) as leased:
            few = milliseconds_to_a_worker(client, leased, "few")
            threads, memory = process.num_threads(), process.memory_info().rss
        with workers(master, MANY) as leased:
            many = milliseconds_to_a_worker(client, leased, "many")
            begun = time.perf_counter()
            client.submit([task(f"all-{n}", job="all") for n in range(TASKS)])
            ran = {leased.get(timeout=60)[0] for _ in range(TASKS)}
            rate = TASKS / (time.perf_counter() - begun)
            more = process.memory_info().rss - memory
            assert process.num_threads() <= threads
        assert ran == {f"all-{n}" for n in range(TASKS)}
    tell(
        f"{MANY:,} workers connected: a task is with one after {many:.2f} ms, with {FEW} workers after {few:.2f};"
        f" {rate:,.0f} tasks/s, each leased and settled alone; the master has {more / 2**20:.0f} MiB more"
    )
    assert many < 2 * few + 0.5
    assert more < 64 * 2**20
