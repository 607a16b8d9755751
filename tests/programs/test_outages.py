"""Masters and workers that come late, die, hang and come back: every task gets its one result, logs stay readable."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import as_completed
from itertools import islice
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from taskyard import Cluster
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import Gate, held, hold_the_lock, slow_square, square
from tests.programs.worker_process import READY, is_alive, run

NO_MASTER = "no master answers at"
LEASE = 4.0
MASTER = {"master_lease": LEASE}


def results_of(master: MasterProcess, cluster: Cluster) -> Counter[str]:
    """How many results each task of the client has in the queue."""
    with master.queue() as queue:
        return Counter(result.id for result in queue.results(cluster.job_id, 0, 10_000, 0))


def attempts_of(master: MasterProcess, cluster: Cluster) -> int:
    """The most attempts that any of the client's tasks took."""
    with master.queue() as queue:
        return max(result.attempts for result in queue.results(cluster.job_id, 0, 10_000, 0))


# The master


def test_a_worker_started_before_its_master_says_so_in_one_line_and_works_once_there_is_one(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    worker = start_worker(own_master)
    worker.wait_for(f"{NO_MASTER} {own_master.url} (Connection refused); trying again until it does")
    own_master.start()
    assert connect(own_master).submit(square, 7).result(20) == "7 * 7 = 49"
    worker.wait_for(f"connected to {own_master.url} after")
    assert worker.log().count(NO_MASTER) == 1
    assert "Traceback" not in worker.log()


def test_a_worker_with_a_wrong_address_waits_until_it_is_told_to_stop(
    own_master: MasterProcess, start_worker: StartWorker
) -> None:
    worker = start_worker(own_master, taskyard_url="manager://127.0.0.1:1")
    worker.wait_for(f"{NO_MASTER} manager://127.0.0.1:1 (Connection refused)")
    assert worker.process.poll() is None
    worker.send(SIGTERM)
    assert worker.wait(10) == 0
    assert worker.log().count(NO_MASTER) == 1
    assert "Traceback" not in worker.log()


def test_a_master_killed_in_the_middle_of_a_job_gives_every_result_exactly_once(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    cluster = connect(own_master)
    workers = [start_worker(own_master) for _ in range(2)]
    futures = {cluster.submit(slow_square, n): n for n in range(300)}
    coming = as_completed(futures, timeout=30)
    for _ in range(2):
        assert len(list(islice(coming, 60))) == 60
        own_master.kill()
        own_master.start()
    assert len(list(coming)) == 180
    assert {n: future.result() for future, n in futures.items()} == {n: n * n for n in range(300)}
    assert results_of(own_master, cluster) == {f"{cluster.job_id}-{n}": 1 for n in range(300)}
    assert attempts_of(own_master, cluster) == 1
    assert [worker.process.poll() for worker in workers] == [None, None]


def test_a_master_gone_for_seconds_is_one_line_in_the_workers_log_and_exit_69_for_the_command_line(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    cluster, worker = connect(own_master), start_worker(own_master)
    assert cluster.submit(square, 2).result(20) == "2 * 2 = 4"
    own_master.kill()
    asked = run(worker.environment, "taskyard", "health")  # which waits some seconds for a master itself
    assert (asked.returncode, asked.stdout) == (69, "")
    told = f"taskyard: no master answers at {own_master.url} (Connection refused); is it running, is the address right?"
    assert asked.stderr.splitlines()[-1] == told
    assert "Traceback" not in asked.stderr
    worker.wait_for(NO_MASTER)
    own_master.start()
    assert cluster.submit(square, 3).result(20) == "3 * 3 = 9"
    worker.wait_for(f"connected to {own_master.url} after")
    assert worker.log().count(NO_MASTER) == 1
    assert "Traceback" not in worker.log()


# Workers


@pytest.mark.parametrize("slots", [1, 2], ids=["all its slots busy", "a slot waiting for work"])
def test_what_a_killed_worker_ran_is_run_by_another_at_once(
    slots: int, own_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    own_master.start()
    cluster = connect(own_master)
    workers = {worker.pid: worker for worker in (start_worker(own_master, worker_slots=slots) for _ in range(2))}
    future = cluster.submit(held, str(gate.folder))
    others = [cluster.submit(slow_square, n) for n in range(20)]
    victim, slot = wait_until(lambda: gate.begun("task"), "the task runs")[0]
    assert [other.result(20) for other in others] == [n * n for n in range(20)]
    with own_master.queue() as queue:
        wait_until(lambda: len(queue.workers()) == 2 and queue.stats()["leased"] == 1, "the other one is there, and idle")
    workers.pop(victim).send(SIGKILL)
    wait_until(
        lambda: len(gate.begun("task")) == 2,
        "another runs it, long before the lease (30 s) or a poll for work (20 s) is over",
        10,
    )
    wait_until(lambda: not is_alive(slot), "the slot dies with its worker")
    gate.open()
    assert future.result(20) == workers.popitem()[0]
    assert results_of(own_master, cluster) == {f"{cluster.job_id}-{n}": 1 for n in range(21)}
    assert attempts_of(own_master, cluster) == 1


@pytest.mark.parametrize("thawed", ["while the other runs it", "after the other has answered"])
def test_a_frozen_workers_task_goes_to_another_after_the_lease_and_still_has_one_result(
    thawed: str, master: MasterProcess, start_worker: StartWorker, cluster: Cluster, gate: Gate
) -> None:
    frozen = start_worker(master)
    future = cluster.submit(held, str(gate.folder))
    wait_until(lambda: gate.begun("task"), "the task runs")
    other = start_worker(master)
    other.wait_for(READY)
    frozen.freeze()
    wait_until(lambda: len(gate.begun("task")) == 2, "another runs it after the lease time", LEASE + 20)
    if thawed == "while the other runs it":
        frozen.thaw()
        gate.open()
        assert future.result(20) in (frozen.pid, other.pid)
    else:
        gate.open()
        assert future.result(20) == other.pid
        frozen.thaw()
    other.send(SIGTERM)
    assert other.wait() == 0
    assert cluster.submit(square, 5).result(20) == "5 * 5 = 25", "the thawed worker works on"
    frozen.send(SIGTERM)
    assert frozen.wait() == 0, "it has settled all that it had to say"
    assert results_of(master, cluster) == {f"{cluster.job_id}-0": 1, f"{cluster.job_id}-1": 1}
    assert "Traceback" not in frozen.log() + other.log()


def test_a_worker_whose_task_holds_the_interpreters_lock_is_healthy_and_a_frozen_one_is_not(
    master: MasterProcess, start_worker: StartWorker, cluster: Cluster, gate: Gate
) -> None:
    gate.open()
    busy = start_worker(master)
    future = cluster.submit(hold_the_lock, str(gate.folder))
    slot = wait_until(lambda: gate.begun("lock"), "it runs")[0][1]
    frozen = start_worker(master)
    wait_until(frozen.is_healthy, "a worker is well")
    frozen.send(SIGSTOP)
    wait_until(lambda: not frozen.is_healthy(), "a frozen worker is not", 30)
    assert busy.is_healthy()
    frozen.send(SIGCONT)
    wait_until(frozen.is_healthy, "it is well again")
    assert future.cancel()
    wait_until(lambda: not is_alive(slot), "even such a task can be stopped")


# What nobody can wait for


@pytest.mark.parametrize("program", ["worker", "taskyard health", "app.job"])
def test_a_wrong_authkey_is_exit_77_and_one_clear_line(program: str, master: MasterProcess) -> None:
    environment = master.environment() | {"TASKYARD_AUTHKEY": "another", "WORKER_HEALTH_FILE": str(master.folder / "worker")}
    ended = run(environment, *program.split())
    assert ended.returncode == 77
    said = [line for line in ended.stderr.splitlines() if "authkey" in line]
    name = program.split()[0].removeprefix("app.")
    assert said == [f"{name}: the master at {master.url} has another authkey; give both the same one"]
    assert "Traceback" not in ended.stderr
