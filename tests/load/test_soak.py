"""Days of work in short: a master that has run many jobs is no larger than one that has run a few, nor is its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from taskyard.series import OutcomeSeries, ResultSeries, TaskSeries
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.measured import tell

pytestmark = pytest.mark.alone

JOBS, TASKS = 100, 5000
EARLY = JOBS // 10
PAYLOAD = b"p" + b"x" * 300
LARGE = 50_000
"""Tasks of one job more, which leaves a large file."""
ONE_BY_ONE = 100
"""Of each job's tasks, those that are submitted alone; every second of them fails twice."""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[MasterProcess]:
    with MasterProcess(tmp_path) as process:
        yield process


def run_job(queue: RemoteQueue, job: str) -> None:
    """All that can happen to tasks: done in series, failed and retried, failed for good, cancelled; then forgotten."""
    queue.submit_series([TaskSeries(job, 0, job, "work", [PAYLOAD] * (TASKS - ONE_BY_ONE))])
    for n in range(ONE_BY_ONE):
        queue.submit_series([TaskSeries(f"{job}-alone", n, job, "work", [PAYLOAD], retries=1, backoff=0.0)])
    queue.cancel([f"{job}-{n}" for n in range(10)])
    while leases := queue.lease_series("s", 1000, 0.0):
        outcomes = []
        for lease in leases:
            outcome = OutcomeSeries(lease.prefix, lease.first, lease.token, "done", lease.payloads)
            if lease.prefix.endswith("alone") and lease.first % 2:
                outcome = outcome._replace(kind="failed", cause="exception: no", delay=0.0)
            outcomes.append(outcome)
        queue.settle_series("s", outcomes)
    assert sum(len(page.values) for page in results_of(queue, job)) == TASKS
    assert queue.forget(job) == TASKS


def results_of(queue: RemoteQueue, job: str) -> Iterator[ResultSeries]:
    cursor = 0
    while page := queue.results_series(job, cursor, 50_000, 0.0):
        yield from page
        cursor = page[-1].cursor + len(page[-1].values) - 1


def test_after_many_jobs_neither_the_master_nor_its_file_is_larger_than_after_a_few_and_the_file_shrinks(
    master: MasterProcess, tmp_path: Path
) -> None:
    assert master.process is not None
    process = psutil.Process(master.process.pid)
    files = [tmp_path / "data" / name for name in ("taskyard.db", "taskyard.db-wal")]

    def size() -> float:
        return sum(file.stat().st_size for file in files) / 2**20

    seen = []
    with master.queue() as queue:
        for number in range(1, JOBS + 1):
            run_job(queue, f"job{number}")
            if number in (EARLY, JOBS):
                seen.append((process.memory_info().rss / 2**20, size()))
        queue.submit_series([TaskSeries("kept", 0, "kept", "work", [PAYLOAD] * LARGE)])
        queue.cancel([f"kept-{n}" for n in range(LARGE)])
        large = size()
        assert queue.forget("kept") == LARGE
        wait_until(lambda: size() < large / 2, "the file has shrunk", 60)
        assert queue.stats()["ready"] == queue.stats()["done"] == 0
    (early_memory, early_size), (memory, late_size) = seen
    tell(
        f"{JOBS * TASKS:,} tasks in {JOBS} jobs, each forgotten: the master has {memory:.0f} MiB, {early_memory:.0f} after a"
        f" tenth; its files {late_size:.1f} MiB, {early_size:.1f} after a tenth; they shrink from {large:.1f} to {size():.1f}"
    )
    assert memory < early_memory + 8
    assert late_size < 1.1 * early_size + 1
