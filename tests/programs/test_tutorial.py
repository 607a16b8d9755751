"""The tutorial's own two programs against a real master, and what becomes of items whose worker is killed."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from taskyard.transport import QueueManager
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import wait_until

SCRIPTS = Path(__file__).parents[1] / "contract" / "tutorial"
TAKES_ONE = """
import sys
from multiprocessing.managers import BaseManager
class QueueManager(BaseManager): pass
QueueManager.register("get_task_queue")
manager = QueueManager(address=(sys.argv[1], int(sys.argv[2])), authkey=sys.argv[3].encode())
manager.connect()
task = manager.get_task_queue()
print("waits")
print("took", task.get())
sys.stdin.read()
"""
Program = subprocess.Popen[str]
Start = Callable[..., Program]


@pytest.fixture
def start(master: MasterProcess, tmp_path: Path) -> Iterator[Start]:
    """Starts programs that know the master's address and key and nothing of Taskyard; whoever still runs is killed."""
    started: list[Program] = []

    def start_one(*words: str) -> Program:
        address = ["127.0.0.1", str(master.port), AUTHKEY.decode()]
        head, tail = words[:2] if words[0] == "-c" else words[:1], words[2:] if words[0] == "-c" else words[1:]
        started.append(
            subprocess.Popen(
                [sys.executable, "-u", *head, *address, *tail],
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start_one
    for program in started:
        kill(program)


@pytest.fixture(scope="module")
def joined(master: MasterProcess) -> Any:
    """Another program that has joined, once: proxies of one address share a connection, and the end of any closes it."""
    manager = QueueManager(("127.0.0.1", master.port), AUTHKEY)
    manager.connect()
    return manager.get_task_queue(), manager.get_result_queue()  # type: ignore[attr-defined]


@pytest.fixture
def queues(joined: Any) -> Iterator[Any]:
    """Its task queue and its result queue, of which a test leaves nothing over."""
    yield joined
    for left in joined:
        with pytest.raises(queue.Empty):
            pytest.fail(f"left over: {left.get_nowait()!r}")


def kill(program: Program) -> None:
    program.kill()
    program.communicate()


def read_until(program: Program, text: str) -> list[str]:
    """The lines that the program prints before the one with this text."""
    assert program.stdout is not None
    return list(takewhile(lambda line: text not in line, program.stdout))


@pytest.mark.parametrize("how", [(), ("spawn",)], ids=["as it is", "under spawn"])
def test_the_tutorials_master_and_worker_exchange_ten_results(how: tuple[str, ...], start: Start, queues: Any) -> None:
    asking = start(str(SCRIPTS / "task_master.py"))
    put = [int(number) for line in read_until(asking, "Try get results...") for number in re.findall(r"Put task (\d+)", line)]
    answering = start(str(SCRIPTS / "task_worker.py"), *how)
    told, _ = answering.communicate(timeout=30)
    results, _ = asking.communicate(timeout=30)
    assert told.splitlines()[-1] == "worker exit."
    assert results.splitlines() == [*(f"Result: {n} * {n} = {n * n}" for n in put), "master exit."]
    assert len(put) == 10
    assert (answering.returncode, asking.returncode) == (0, 0)


def test_an_item_goes_past_a_worker_that_was_killed_while_it_waited(start: Start, queues: Any) -> None:
    tasks, _ = queues
    for n in range(3):
        waiting = start("-c", TAKES_ONE)
        read_until(waiting, "waits")
        kill(waiting)  # its get() would wait for ever
        began = time.monotonic()
        tasks.put(n)
        assert tasks.get(timeout=10) == n
        assert time.monotonic() - began < 4


def test_an_item_goes_past_a_worker_that_is_killed_while_another_waits_too(start: Start, queues: Any) -> None:
    tasks, results = queues
    first, second = (start(str(SCRIPTS / "task_worker.py")) for _ in range(2))
    for worker in (first, second):
        read_until(worker, "task queue is empty.")
    kill(first)
    tasks.put(12)
    assert results.get(timeout=5) == "12 * 12 = 144"


def test_an_item_that_a_killed_worker_had_taken_goes_back_to_its_place(start: Start, queues: Any) -> None:
    tasks, _ = queues
    for item in ("first", "second", "third"):
        tasks.put(item)
    taker = start("-c", TAKES_ONE)
    assert taker.stdout is not None
    assert [taker.stdout.readline() for _ in range(2)] == ["waits\n", "took first\n"]
    assert tasks.qsize() == 2
    kill(taker)
    wait_until(lambda: tasks.qsize() == 3, "the master has seen its connection close")
    assert [tasks.get(timeout=1) for _ in range(3)] == ["first", "second", "third"]
