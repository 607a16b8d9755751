"""A worker that is told to stop: what runs may finish, the rest goes back at once, no attempt is counted."""

from __future__ import annotations

from signal import SIGINT, SIGTERM, Signals

import pytest

from taskyard import Cluster
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import Gate, held, square
from tests.programs.worker_process import READY, is_alive

SOON = 10.0
"""Seconds: far less than the lease time (30), which is what a worker without a farewell costs."""
STOPPED_BY = 8.0
"""Seconds: far less than a long poll for work (20)."""


def attempts_of(master: MasterProcess, cluster: Cluster) -> list[int]:
    with master.queue() as queue:
        return [result.attempts for result in queue.results(cluster.job_id, 0, 10_000, 0)]


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_stopping_worker_finishes_what_runs_and_gives_back_what_waits(
    number: Signals,
    master: MasterProcess,
    start_worker: StartWorker,
    cluster: Cluster,
    gate: Gate,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pass_by = Gate(tmp_path_factory.mktemp("open"))
    pass_by.open()
    stopping = start_worker(master)
    # It learns that this task is short, so that it leases many ahead and gives its slot several at once.
    quick = [cluster.submit(held, str(pass_by.folder)) for _ in range(50)]
    assert {future.result(20) for future in quick} == {stopping.pid}
    running = cluster.submit(held, str(gate.folder), "running")
    waiting = [cluster.submit(held, str(pass_by.folder), "waiting") for _ in range(20)]
    wait_until(lambda: gate.begun("running"), "the first one runs")
    stopping.send(number)
    other = start_worker(master)
    assert {future.result(SOON) for future in waiting} == {other.pid}
    assert not running.done()
    assert stopping.process.poll() is None
    gate.open()
    assert running.result(SOON) == stopping.pid
    assert stopping.wait(SOON) == 0
    assert attempts_of(master, cluster) == [1] * 71
    assert len(gate.begun("running")) == 1
    assert "Traceback" not in stopping.log()


@pytest.mark.parametrize(("end_of_patience", "grace"), [("a second signal", 600), ("the grace period is over", 0.5)])
def test_what_does_not_end_in_time_is_given_back(
    end_of_patience: str, grace: float, master: MasterProcess, start_worker: StartWorker, cluster: Cluster, gate: Gate
) -> None:
    stopping = start_worker(master, worker_grace=grace)
    future = cluster.submit(held, str(gate.folder))
    _, slot = wait_until(lambda: gate.begun("task"), "the task runs")[0]
    other = start_worker(master)
    other.wait_for(READY)
    stopping.send(SIGTERM)
    stopping.wait_for("draining")
    if end_of_patience == "a second signal":
        assert is_alive(slot)
        stopping.send(SIGTERM)
    assert stopping.wait(SOON) == 0
    wait_until(lambda: len(gate.begun("task")) == 2, "another worker runs it", SOON)
    gate.open()
    assert future.result(SOON) == other.pid
    assert attempts_of(master, cluster) == [1]
    assert not is_alive(slot)


def test_a_draining_worker_is_given_nothing_more(
    master: MasterProcess, start_worker: StartWorker, cluster: Cluster, gate: Gate
) -> None:
    stopping = start_worker(master, worker_slots=2)
    running = cluster.submit(held, str(gate.folder), "running")
    wait_until(lambda: gate.begun("running"), "one slot is busy, the other free")
    stopping.send(SIGTERM)
    stopping.wait_for("draining")
    later = cluster.submit(held, str(gate.folder), "later")
    gate.open()
    assert running.result(SOON) == stopping.pid
    assert stopping.wait(SOON) == 0
    assert gate.begun("later") == []
    other = start_worker(master)
    assert later.result(SOON) == other.pid


def test_an_idle_worker_stops_at_once_and_its_session_with_it(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    idle = start_worker(own_master)
    assert connect(own_master).submit(square, 6).result(20) == "6 * 6 = 36"
    with own_master.queue() as queue:
        wait_until(queue.workers, "the master has heard of it")
        idle.send(SIGTERM)
        assert idle.wait(STOPPED_BY) == 0
        assert queue.stats()["workers"] == 0


def test_a_worker_told_to_stop_as_soon_as_it_is_ready_stops_at_once(own_master: MasterProcess, start_worker: StartWorker) -> None:
    own_master.start()
    for _ in range(4):  # it is connecting just now, so it takes some tries to meet each moment of that
        worker = start_worker(own_master)
        worker.wait_for(READY)
        worker.send(SIGTERM)
        assert worker.wait(STOPPED_BY) == 0


# By the queue's order


def test_a_worker_that_the_queue_tells_to_drain_finishes_what_runs_however_long_and_ends(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    own_master.start()
    draining = start_worker(own_master, worker_grace=0)  # which is for those whom a signal tells
    running = connect(own_master).submit(held, str(gate.folder), "running")
    wait_until(lambda: gate.begun("running"), "it runs")
    with own_master.queue() as queue:
        (told,) = wait_until(queue.workers, "it has told of itself")
        assert (told.pid, told.draining) == (draining.pid, False)
        assert told.memory > 10_000_000
        assert queue.drain([told.session]) == 1
        draining.wait_for("draining")
        later = connect(own_master).submit(held, str(gate.folder), "later")
        wait_until(lambda: queue.stats()["ready"] == 1, "the other task waits")
        assert draining.process.poll() is None
        gate.open()
        assert running.result(SOON) == draining.pid
        assert draining.wait(SOON) == 0
        (gone,) = queue.workers()
        assert (gone.session, gone.lost, gone.draining) == (told.session, False, True)
        assert gone.left > gone.started > 0
    other = start_worker(own_master)
    assert later.result(SOON) == other.pid


def test_a_worker_that_drains_by_order_keeps_its_last_outcome_for_as_long_as_the_master_is_away(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    own_master.start()
    draining = start_worker(own_master)
    future = connect(own_master).submit(held, str(gate.folder))
    wait_until(lambda: gate.begun("task"), "it runs")
    with own_master.queue() as queue:
        queue.drain([worker.session for worker in wait_until(queue.workers, "it has told of itself")])
    draining.wait_for("draining")
    own_master.kill()
    gate.open()
    draining.wait_for("its last outcomes wait")
    own_master.start()
    assert future.result(SOON) == draining.pid
    assert draining.wait(SOON) == 0
    with own_master.queue() as queue:
        assert queue.stats()["done"] == 1


def test_a_drained_worker_that_is_to_stay_does_nothing_until_a_signal(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    drained = start_worker(own_master, worker_after_drain="stay")
    with own_master.queue() as queue:
        (told,) = wait_until(queue.workers, "it has joined")
        queue.drain([told.session])
        drained.wait_for("drained; start this worker again")
        future = connect(own_master).submit(square, 6)
        wait_until(lambda: queue.stats()["ready"] == 1, "the task waits")
        assert queue.stats()["workers"] == 0
        assert drained.slots() == []
    assert drained.process.poll() is None
    assert drained.is_healthy()
    drained.send(SIGTERM)
    assert drained.wait(STOPPED_BY) == 0
    start_worker(own_master)
    assert future.result(SOON) == "6 * 6 = 36"


def test_a_worker_of_a_swarm_ends_with_0_by_order_alone_so_that_whoever_is_ended_otherwise_starts_again(
    own_master: MasterProcess, start_worker: StartWorker
) -> None:
    own_master.start()
    ended, drained = (start_worker(own_master, worker_after_drain="complete") for _ in range(2))
    with own_master.queue() as queue:
        wait_until(lambda: queue.stats()["workers"] == 2, "both have joined")
        ended.send(SIGTERM)
        assert ended.wait(STOPPED_BY) == 143
        queue.drain([worker.session for worker in queue.workers() if not worker.left])
    assert drained.wait(SOON) == 0


def test_a_signal_gives_a_worker_that_drains_by_order_the_grace_period(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    own_master.start()
    draining = start_worker(own_master, worker_grace=0.5, worker_after_drain="stay")
    connect(own_master).submit(held, str(gate.folder))
    wait_until(lambda: gate.begun("task"), "it runs")
    with own_master.queue() as queue:
        queue.drain([worker.session for worker in wait_until(queue.workers, "it has told of itself")])
        draining.wait_for("draining")
        draining.send(SIGTERM)
        assert draining.wait(SOON) == 0
        assert queue.stats()["ready"] == 1
