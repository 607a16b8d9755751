"""`Cluster` as the executor that it is, against real workers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, as_completed
from concurrent.futures import wait as wait_for_all
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_port
from taskyard import Cluster
from taskyard.errors import PayloadTooLarge, Unreachable, WrongKey
from taskyard.model import JobInfo
from taskyard.transport import RemoteQueue
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import Gate, give_back, held, pair, slow_square, square
from tests.programs.worker_process import WorkerProcess, is_alive

WORKER = {"worker_slots": 2}
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def full_house(cluster: Cluster, gate: Gate) -> Iterator[list[Future[int]]]:
    """Both slots of the worker run something until the gate opens."""
    running = [cluster.submit(held, str(gate.folder), name) for name in ("one", "two")]
    wait_until(lambda: gate.begun("one") and gate.begun("two"), "both run")
    yield running
    gate.open()


def cluster_info(queue: RemoteQueue, job: str) -> JobInfo:
    (info,) = queue.jobs(job, 1, 0)
    return info


# map


def test_map_gives_results_in_the_order_of_the_calls(cluster: Cluster) -> None:
    assert list(cluster.map(slow_square, range(100))) == [n * n for n in range(100)]
    assert list(cluster.map(pair, "ab", itertools.count(2))) == [("a", 2), ("b", 3)]


def test_map_takes_an_endless_iterable_and_leaves_nothing_behind(master: MasterProcess, cluster: Cluster) -> None:
    assert list(itertools.islice(cluster.map(square, itertools.count()), 20)) == [square(n) for n in range(20)]
    with master.queue() as queue:
        wait_until(lambda: not any(queue.stats()[state] for state in ("ready", "leased")), "what nobody waits for is cancelled")


def test_map_gives_up_when_its_time_is_over(cluster: Cluster, full_house: object) -> None:
    results = cluster.map(square, range(3), timeout=0.3)
    with pytest.raises(TimeoutError):
        next(results)


# Futures


def test_a_result_that_is_not_there_in_time_is_a_timeout_and_still_comes(
    cluster: Cluster, gate: Gate, full_house: list[Future[int]], worker: WorkerProcess
) -> None:
    with pytest.raises(TimeoutError):
        full_house[0].result(0.3)
    gate.open()
    assert full_house[0].result(20) == worker.pid


def test_what_is_cancelled_before_it_begins_never_runs(
    master: MasterProcess, cluster: Cluster, gate: Gate, full_house: list[Future[int]]
) -> None:
    future = cluster.submit(held, str(gate.folder), "cancelled")
    with master.queue() as queue:
        wait_until(lambda: queue.find("ready", cluster.job_id, 10, 0), "it waits in the queue")
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result(0)
        wait_until(lambda: len(queue.find("cancelled", cluster.job_id, 10, 0)) == 1, "the master knows")
    gate.open()
    wait_for_all(full_house, 20)
    assert cluster.submit(square, 2).result(20) == "2 * 2 = 4"
    assert gate.begun("cancelled") == []


def test_who_waits_for_a_cancelled_future_is_told(cluster: Cluster, full_house: list[Future[int]], gate: Gate) -> None:
    future = cluster.submit(held, str(gate.folder), "cancelled")
    assert future.cancel()
    assert wait_for_all([future], timeout=10).done == {future}
    assert next(as_completed([future], timeout=10)) is future


def test_shutdown_returns_when_all_is_cancelled_though_the_master_is_away(own_master: MasterProcess) -> None:
    own_master.start()
    cluster = Cluster(own_master.url, AUTHKEY)
    futures = [cluster.submit(square, n) for n in range(10)]
    own_master.kill()
    InThread(partial(cluster.shutdown, cancel_futures=True)).result(20)
    assert all(future.cancelled() for future in futures)


def test_what_is_cancelled_while_the_master_is_away_never_reaches_it_and_other_calls_do(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    cluster = connect(own_master)
    start_worker(own_master)
    assert cluster.submit(square, 1).result(20) == square(1)
    own_master.kill()
    cancelled = [cluster.submit(square, 2), cluster.options(key="cancelled").submit(square, 3)]
    others = [cluster.submit(square, 4), cluster.options(key="wanted").submit(square, 5)]
    assert all(future.cancel() for future in cancelled)
    own_master.start()
    assert [future.result(20) for future in others] == [square(4), square(5)]
    with own_master.queue() as queue:
        assert queue.show(["cancelled"]) == []


def test_asyncio_awaits_the_futures(cluster: Cluster) -> None:
    async def ask() -> list[str]:
        return await asyncio.gather(*(asyncio.wrap_future(cluster.submit(square, n)) for n in range(20)))

    assert asyncio.run(asyncio.wait_for(ask(), 20)) == [square(n) for n in range(20)]


# shutdown


def test_leaving_the_with_block_waits_for_every_result(master: MasterProcess) -> None:
    with Cluster(master.url, AUTHKEY) as cluster:
        futures = [cluster.submit(slow_square, n) for n in range(30)]
    assert [future.done() for future in futures] == [True] * 30
    assert [future.result(0) for future in futures] == [n * n for n in range(30)]


def test_shutdown_without_waiting_returns_and_results_still_come(
    cluster: Cluster, gate: Gate, full_house: list[Future[int]], worker: WorkerProcess
) -> None:
    cluster.shutdown(wait=False)
    assert not any(future.done() for future in full_house)
    with pytest.raises(RuntimeError, match="after shutdown"):
        cluster.submit(square, 1)
    gate.open()
    assert [future.result(20) for future in full_house] == [worker.pid] * 2


def test_shutdown_can_cancel_what_waits_while_what_runs_goes_on(
    master: MasterProcess, cluster: Cluster, gate: Gate, full_house: list[Future[int]], worker: WorkerProcess
) -> None:
    waiting = [cluster.submit(held, str(gate.folder), f"waiting-{n}") for n in range(5)]
    with master.queue() as queue:
        wait_until(lambda: len(queue.find("ready", cluster.job_id, 10, 0)) == 5, "they wait in the queue")
        wait_until(full_house[0].running, "it is known that it runs")
        ending = InThread(partial(cluster.shutdown, cancel_futures=True))
        assert wait_for_all(waiting, 10).not_done == set()
        assert all(future.cancelled() for future in waiting)
        gate.open()
        ending.result(20)
        assert [future.result(0) for future in full_house] == [worker.pid] * 2
        info = cluster_info(queue, cluster.job_id)
    assert (info.tasks, info.done, info.cancelled, info.open) == (7, 2, 5, 0)


def test_a_running_call_can_be_cancelled_too_and_its_process_ends(
    cluster: Cluster, gate: Gate, full_house: list[Future[int]]
) -> None:
    slot = gate.begun("one")[0][1]
    wait_until(full_house[0].running, "it is known that it runs")
    assert full_house[0].cancel()
    wait_until(lambda: not is_alive(slot), "its process has ended")
    wait_until(full_house[1].running, "the other one runs on", 10)
    ((_, other),) = gate.begun("two")
    assert is_alive(other)


# Troubles


def test_a_client_without_a_master_or_with_a_wrong_key_says_so(master: MasterProcess) -> None:
    with pytest.raises(Unreachable, match="is it running, is the address right"):
        Cluster(f"manager://127.0.0.1:{free_port()}", AUTHKEY, patience=0.3)
    with pytest.raises(WrongKey):
        Cluster(master.url, b"another")


@pytest.fixture
def narrow_master(tmp_path: Path) -> Iterator[MasterProcess]:
    """A master with room for ten open tasks of 100 kB."""
    master = MasterProcess(tmp_path / "narrow", master_bound=10, master_payload_limit=100_000)
    master.start()
    yield master
    master.close()


def test_submits_wait_while_the_queue_is_full_and_all_come(
    narrow_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    cluster = connect(narrow_master)
    futures = [cluster.submit(held, str(gate.folder), str(n)) for n in range(10)]
    with narrow_master.queue() as queue:
        wait_until(lambda: queue.stats()["ready"] == 10, "it is full")
        more = [cluster.submit(square, n) for n in range(5)]
        start_worker(narrow_master)
        wait_until(lambda: gate.begun("0"), "the first one runs")
        assert queue.stats()["ready"] + queue.stats()["leased"] == 10
    gate.open()
    assert len({future.result(20) for future in futures}) == 1
    assert [future.result(20) for future in more] == [square(n) for n in range(5)]


def test_more_calls_at_once_than_the_queue_takes_all_come(
    narrow_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    start_worker(narrow_master)
    results = connect(narrow_master).map(square, range(100), timeout=60)
    assert list(results) == [square(n) for n in range(100)]


def test_a_payload_over_the_bound_fails_alone(narrow_master: MasterProcess, start_worker: StartWorker, connect: Connect) -> None:
    start_worker(narrow_master)
    cluster = connect(narrow_master)
    values: list[Any] = ["small", b"x" * 200_000, "small too", b"x" * 5_000_000, "the last"]
    futures = [cluster.submit(give_back, value) for value in values]
    for index in (1, 3):
        with pytest.raises(PayloadTooLarge, match="MASTER_PAYLOAD_LIMIT"):
            futures[index].result(20)
    assert [futures[index].result(20) for index in (0, 2, 4)] == ["small", "small too", "the last"]


def test_a_client_outlives_restarts_of_its_master(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    own_master.start()
    cluster = connect(own_master)
    worker = start_worker(own_master)
    running = cluster.submit(held, str(gate.folder))
    wait_until(lambda: gate.begun("task"), "it runs")
    own_master.kill()
    meanwhile = cluster.submit(square, 8)
    own_master.start()
    gate.open()
    assert running.result(20) == worker.pid
    assert meanwhile.result(20) == "8 * 8 = 64"
    assert own_master.stop() == 0
    own_master.start()
    assert cluster.submit(square, 9).result(20) == "9 * 9 = 81"
