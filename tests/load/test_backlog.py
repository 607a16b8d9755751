"""A million tasks that wait: what the master keeps of them, and what a worker that leases notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

from taskyard.series import TaskSeries
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import done
from tests.measured import tell

pytestmark = pytest.mark.alone

WAITING = 1_000_000
SERIES = 1000
"""Tasks in one; each second series has another priority and name, so that the backlog has several heads."""
LEASES = 200


@pytest.fixture
def master(tmp_path: Path) -> Iterator[MasterProcess]:
    with MasterProcess(tmp_path, master_bound=2 * WAITING) as process:
        yield process


def submit(queue: RemoteQueue, count: int) -> None:
    for first in range(0, count, SERIES):
        kind = first // SERIES % 2
        payloads = [b"p%d" % number for number in range(first, min(first + SERIES, count))]
        queue.submit_series([TaskSeries(f"job{count}", first, f"job{count}", f"work{kind}", payloads, kind)])


def milliseconds_of_a_lease(queue: RemoteQueue, session: str) -> float:
    """Median of leases of one task each, which is settled before the next."""
    taken = []
    for _ in range(LEASES):
        begun = time.perf_counter()
        (lease,) = queue.lease(session, 1, 10.0)
        taken.append(1000 * (time.perf_counter() - begun))
        assert queue.settle(session, [done(lease)]) == 1
    return median(taken)


def test_a_lease_takes_no_longer_because_a_million_tasks_wait_also_after_a_start_and_the_master_stays_small(
    master: MasterProcess,
) -> None:
    with master.queue() as queue:
        submit(queue, LEASES)
        few = milliseconds_of_a_lease(queue, "few")
        submit(queue, WAITING)
        many = milliseconds_of_a_lease(queue, "many")
        assert queue.stats()["ready"] == WAITING - LEASES
    assert master.process is not None
    memory = psutil.Process(master.process.pid).memory_info().rss
    master.kill()
    begun = time.perf_counter()
    master.start(wait=False)
    with master.queue() as queue:
        (lease,) = queue.lease("first", 1, 20.0)
        started = time.perf_counter() - begun
        queue.settle("first", [done(lease)])
        after = milliseconds_of_a_lease(queue, "after")
        assert queue.stats()["ready"] == WAITING - 2 * LEASES - 1
    memory_after = psutil.Process(master.process.pid).memory_info().rss
    tell(
        f"{WAITING:,} tasks wait: a lease takes {many:.2f} ms, {after:.2f} after a SIGKILL and a start, {few:.2f} with {LEASES};"
        f" lends {started:.2f} s after its start; the master has {memory / 2**20:.0f} MiB, {memory_after / 2**20:.0f} after it"
    )
    assert max(many, after) < 2 * few + 0.2
    assert max(memory, memory_after) < 150 * 2**20
    assert started < 3
