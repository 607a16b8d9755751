"""A task that is cancelled by a program other than the one that waits for it."""

from __future__ import annotations

import pytest

from taskyard import Cluster
from taskyard.errors import TaskFailed
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.conftest import StartWorker
from tests.programs.tasks import Gate, held, square
from tests.programs.worker_process import is_alive


def test_a_running_task_that_another_program_cancels_is_stopped_and_its_caller_is_told(
    master: MasterProcess, start_worker: StartWorker, cluster: Cluster, gate: Gate
) -> None:
    worker = start_worker(master)
    future = cluster.submit(held, str(gate.folder))
    _, slot = wait_until(lambda: gate.begun("task"), "it runs")[0]
    with master.queue() as queue:
        assert queue.cancel([f"{cluster.job_id}-0", "no such task"]) == 1
        assert queue.cancel([f"{cluster.job_id}-0"]) == 0, "it has ended"
    with pytest.raises(TaskFailed, match=r"^cancelled$"):
        future.result(20)
    wait_until(lambda: not is_alive(slot), "its process has ended")
    assert cluster.submit(square, 4).result(20) == "4 * 4 = 16"
    assert worker.process.poll() is None
    with master.queue() as queue:
        assert [result.state for result in queue.results(cluster.job_id, 0, 10, 0)] == ["cancelled", "done"]
    assert len(gate.begun("task")) == 1
