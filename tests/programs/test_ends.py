"""How clients end, and what becomes of calls whose queue, client or worker has changed behind them."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait as wait_for_all
from pathlib import Path
from typing import Any

import pytest

from taskyard import Cluster
from taskyard.errors import NoSuchTask, PayloadTooLarge, SettingsError, WrongKey
from taskyard.futures import OpenCalls, TaskFuture
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import Gate, give_back, held, square

WORKER = {"worker_slots": 2}
pytestmark = pytest.mark.usefixtures("worker")


def run_script(master: MasterProcess, text: str, seconds: float = 30.0) -> tuple[int, str, str]:
    """Run a program to its end; returns its exit code, what it printed, and what it said on standard error."""
    ended = subprocess.run(
        [sys.executable, "-c", text], env=master.environment(), capture_output=True, text=True, timeout=seconds, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_calls_of_a_child_of_multiprocessing_are_all_made(
    master: MasterProcess, cluster: Cluster, tmp_path: Path, method: str
) -> None:
    (tmp_path / "parent.py").write_text(
        "import multiprocessing, sys\n"
        "def child(job):\n"
        "    from taskyard import Cluster\n"
        "    cluster = Cluster(job=job)\n"
        "    for n in range(3000): cluster.submit('square', n)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context(sys.argv[1]).Process(target=child, args=(sys.argv[2],))\n"
        "    process.start(); process.join(); sys.exit(process.exitcode)\n"
    )
    job = f"of a child by {method}"
    ended = subprocess.run(
        [sys.executable, tmp_path / "parent.py", method, job], env=master.environment(), timeout=60, check=False
    )
    assert ended.returncode == 0
    assert cluster.job(job).info().done == 3000


def test_a_program_ends_after_the_last_callback_has(master: MasterProcess) -> None:
    text = (
        "import time; from taskyard import Cluster\n"
        "def slow(future): time.sleep(0.5); print(future.result(), flush=True)\n"
        "Cluster().submit('square', 3).add_done_callback(slow)\n"
    )
    assert run_script(master, text) == (0, "3 * 3 = 9\n", "")


def test_a_forked_child_that_leaves_the_with_block_ends_at_once(master: MasterProcess) -> None:
    text = (
        "import os, sys, time; from taskyard import Cluster\n"
        "with Cluster() as cluster:\n"
        "    futures = [cluster.submit('square', n) for n in range(5000)]\n"
        "    if (child := os.fork()) == 0:\n"
        "        sys.exit(7)\n"
        "    started = time.monotonic()\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "    assert time.monotonic() - started < 4.5, 'the child waits'\n"
        "print(len([future.result() for future in futures]))\n"
    )
    assert run_script(master, text) == (0, "5000\n", "")


# What was asked of `map` before, and is taken after


def test_results_of_a_list_can_be_taken_behind_the_with_block(master: MasterProcess) -> None:
    with Cluster(master.url, AUTHKEY) as cluster:
        results = cluster.map(give_back, list(range(5000)))
    assert list(results) == list(range(5000))


def test_calls_that_map_could_not_make_before_the_end_are_told_in_words(master: MasterProcess) -> None:
    with Cluster(master.url, AUTHKEY) as cluster:
        results = cluster.map(give_back, iter(range(100)), buffersize=10)
    with pytest.raises(RuntimeError, match="after shutdown: map makes calls as its results are taken, so take them inside"):
        list(results)


def test_calls_whose_arguments_are_too_large_together_are_made_one_by_one(
    tmp_path: Path, start_worker: StartWorker, connect: Connect
) -> None:
    narrow = MasterProcess(tmp_path / "narrow", master_payload_limit=100_000)
    narrow.start()
    try:
        start_worker(narrow)
        cluster = connect(narrow)
        arguments = [b"x" * 30_000] * 8
        assert list(cluster.map(give_back, arguments, chunksize=4)) == arguments
        with pytest.raises(PayloadTooLarge):
            list(cluster.map(give_back, [b"x", b"x" * 200_000], chunksize=2))
    finally:
        narrow.close()


# Functions that look like tasks


def test_a_function_that_wraps_a_task_is_called_and_not_the_task(cluster: Cluster) -> None:
    @functools.wraps(square)
    def twice(n: int) -> str:
        return "wrapped"

    assert cluster.submit(twice, 3).result(20) == "wrapped"
    assert list(cluster.map(twice, [3])) == ["wrapped"]
    assert cluster.submit(square, 3).result(20) == "3 * 3 = 9"


def test_a_key_needs_the_name_of_a_task(cluster: Cluster) -> None:
    with pytest.raises(SettingsError, match="a key belongs to a task's name"):
        cluster.options(key="17").submit(lambda: 1)


def test_functions_wait_for_a_worker_that_takes_them_once_there_was_one(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    start_worker(own_master, worker_accepts="names").wait_for("ready  ")
    taking = start_worker(own_master)
    taking.wait_for("ready  ")
    cluster = connect(own_master)
    wait_until(lambda: len(cluster.workers()) == 2, "both have joined")
    assert cluster.submit(lambda: 1).result(20) == 1
    taking.close()
    wait_until(lambda: len(cluster.workers()) == 1, "it has gone")
    future = cluster.submit(lambda: 2)
    start_worker(own_master)
    assert future.result(20) == 2


# Tasks that are gone


def test_a_call_that_the_queue_has_forgotten_fails_in_words(own_master: MasterProcess, connect: Connect, gate: Gate) -> None:
    own_master.start()
    cluster = connect(own_master)
    lost = cluster.submit(held, str(gate.folder))
    wait_until(lambda: cluster.job(cluster.job_id).info().open == 1, "the queue has it")
    own_master.kill()
    shutil.rmtree(own_master.folder / "data")
    own_master.start()
    with pytest.raises(NoSuchTask, match="the queue has lost its data"):
        lost.result(20)


def test_a_job_that_is_forgotten_while_its_results_are_read_just_ends(
    cluster: Cluster, connect: Connect, master: MasterProcess
) -> None:
    [cluster.submit(give_back, n).result(20) for n in range(3)]
    other = connect(master)
    results = other.job(cluster.job_id).results()
    first = next(results)
    assert other.job(cluster.job_id).forget() == 3
    assert len([first, *results]) == 3


def test_who_detaches_is_told_when_the_queue_can_not_have_it_all(own_master: MasterProcess, tmp_path: Path) -> None:
    own_master.start()
    cluster = Cluster(own_master.url, AUTHKEY)
    assert cluster.submit(square, 1)
    own_master.kill()
    own_master._settings["TASKYARD_AUTHKEY"] = "another"
    cluster.submit(square, 2)
    leaving = InThread(cluster.detach)
    own_master.start(wait=False)
    with pytest.raises(WrongKey):
        leaving.result(20)


# Keys of calls that others have made before


@pytest.fixture
def others(master: MasterProcess, gate: Gate) -> Iterator[Cluster]:
    """A client with a thousand keyed calls that wait, big ones, and both slots busy."""
    with Cluster(master.url, AUTHKEY) as other:
        busy = [other.submit(held, str(gate.folder), f"busy-{n}") for n in range(2)]
        wait_until(lambda: gate.begun("busy-0") and gate.begun("busy-1"), "both slots run")
        waiting = [other.options(key=f"{n}", delay=3600).submit(give_back, b"x" * 500_000) for n in range(40)]
        yield other
        gate.open()
        for future in waiting:
            future.cancel()
        [future.result(20) for future in busy]


def test_a_known_call_has_its_result_however_many_others_are_open(
    others: Cluster, connect: Connect, master: MasterProcess, gate: Gate
) -> None:
    with Cluster(master.url, AUTHKEY) as first:
        once = first.options(key="the last").submit(give_back, "the first one's")
        mine = connect(master)
        futures: list[Any] = [mine.options(key=f"{n}", delay=3600).submit(give_back, b"x" * 500_000) for n in range(40)]
        last = mine.options(key="the last").submit(give_back, "the second one's")
        wait_until(lambda: last.sent, "the queue has it")  # type: ignore[attr-defined]
        gate.open()
        assert once.result(20) == "the first one's"
        assert last.result(5) == "the first one's"
        assert not any(future.done() for future in futures)


def test_a_call_whose_key_is_used_again_while_it_is_being_cancelled_goes_on_for_the_new_one(
    cluster: Cluster, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_again = threading.Event()
    withdraw = OpenCalls.withdraw

    def late(open_calls: OpenCalls, key: str, call: TaskFuture) -> bool:
        assert used_again.wait(20)
        return withdraw(open_calls, key, call)

    monkeypatch.setattr(OpenCalls, "withdraw", late)
    keyed = cluster.options(key="cancelled")
    first = keyed.submit(held, str(gate.folder))
    wait_until(lambda: gate.begun("task"), "it runs")
    cancelling = InThread(first.cancel)
    wait_until(first.cancelled, "it is being cancelled")
    again = keyed.submit(held, str(gate.folder))
    used_again.set()
    assert cancelling.result(20) is True
    assert wait_for_all([first], 10).done == {first}, "who waits for it is told"
    gate.open()
    assert isinstance(again.result(20), int)
    assert len(gate.begun("task")) == 1
