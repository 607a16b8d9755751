"""Commands that steer a cluster: pause and resume, drain, retry of all that failed alike; and what tells of it."""

from __future__ import annotations

import pytest

from taskyard.model import Outcome, WorkerInfo
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import failed, task, wait_until
from tests.programs.command import Command
from tests.programs.conftest import StartWorker


@pytest.fixture
def command(own_master: MasterProcess) -> Command:
    own_master.start()
    return Command(own_master)


@pytest.fixture
def queue(command: Command, own_master: MasterProcess) -> RemoteQueue:
    return own_master.queue()


def workers(queue: RemoteQueue, many: int) -> list[WorkerInfo]:
    """Those that are there, once they are so many."""
    return wait_until(lambda: found if len(found := queue.workers()) == many else [], "they have joined")


def test_a_paused_queue_lends_nothing_until_it_goes_on(command: Command, queue: RemoteQueue) -> None:
    with queue:
        queue.submit([task("a")])
        assert command.ask("pause") == "paused; taskyard resume lets it go on\n"
        assert command.ask_json("pause") == {"paused": True, "changed": False}
        assert queue.lease("s", 1, 0) == []
        status = command.run("status")
        assert (status.returncode, status.stderr) == (0, "taskyard: the queue is paused; taskyard resume lets it go on\n")
        assert command.ask("resume") == "it goes on\n"
        assert command.ask("resume") == "it was not paused\n"
        assert len(queue.lease("s", 1, 0)) == 1


def test_workers_are_drained_by_their_names_and_told_as_left(
    command: Command, queue: RemoteQueue, own_master: MasterProcess, start_worker: StartWorker
) -> None:
    one, other = start_worker(own_master), start_worker(own_master)
    with queue:
        sessions = {worker.pid: worker.session for worker in workers(queue, 2)}
        assert command.ask("drain", sessions[one.pid][:8]) == "1 told to drain\n"
        assert one.wait(15) == 0
        (left,) = command.rows("workers", "--left")
        assert left["worker"] == sessions[one.pid][:8]
        assert left["state"].startswith("left 2")
        (alive,) = command.rows("workers")
        assert (alive["worker"], alive["state"]) == (sessions[other.pid][:8], "alive")
        assert float(alive["memory"].split()[0].replace(",", "")) > 10


def test_workers_are_drained_by_their_host(
    command: Command, queue: RemoteQueue, own_master: MasterProcess, start_worker: StartWorker
) -> None:
    both = [start_worker(own_master) for _ in range(2)]
    with queue:
        host = workers(queue, 2)[0].host
        assert command.ask_json("drain", host) == {"drained": 2}
        assert [worker.wait(15) for worker in both] == [0, 0]


def test_a_worker_that_is_not_there_is_named_and_nobody_is_drained(command: Command, queue: RemoteQueue) -> None:
    with queue:
        queue.heartbeat("alive", {"host": "h"})
        for words in (("h", "nobody"), ("nobody",), ("nobody", "")):
            ended = command.run("drain", *words)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert "'nobody'" in ended.stderr
        assert not queue.workers()[0].draining


def test_all_failed_tasks_of_a_kind_run_again(command: Command, queue: RemoteQueue) -> None:
    with queue:
        queue.submit([task(name, name=name[0], job=name[1], retries=0) for name in ("a1", "a2", "b1", "b2")])
        for lease in queue.lease("s", 9, 0):
            queue.settle("s", [failed(lease, f"exit: {lease.id}")])
        assert command.ask("retry", "--all", "--name", "a", "--job", "1") == "1 will run again\n"
        assert command.ask_json("retry", "--all", "--cause", "exit: a") == {"retried": 1}
        assert command.ask_json("retry", "--all", "--name", "none") == {"retried": 0}
        assert command.ask_json("retry", "--all") == {"retried": 2}
        for words in ((), ("a1", "--all"), ("--name", "a"), ("a1", "--cause", "exit"), ("--job", "1", "--name", "a")):
            assert command.run("retry", *words).returncode == 2


def test_tasks_are_listed_by_name_and_part_of_the_id(command: Command, queue: RemoteQueue) -> None:
    with queue:
        queue.submit([task("night-1", name="a"), task("night-2", name="b"), task("day-2", name="b")])
    assert [row["task"] for row in command.rows("tasks", "--name", "b")] == ["night-2", "day-2"]
    assert [one["id"] for one in command.ask_json("tasks", "--id", "night", "--name", "b")] == ["night-2"]


def test_show_tells_each_attempt(command: Command, queue: RemoteQueue) -> None:
    with queue:
        queue.heartbeat("session of a worker", {"host": "host"})
        queue.submit([task("a", retries=1, backoff=0, payload=b"j[[], {}]")])
        queue.settle("session of a worker", [failed(queue.lease("session of a worker", 1, 5)[0], "exit: 3")])
        (lease,) = queue.lease("session of a worker", 1, 5)
        queue.settle("session of a worker", [Outcome("a", lease.token, "done", b"j1")])
    first, second = command.ask_json("show", "a")["each_attempt"]
    assert (first["number"], first["kind"], first["host"], first["cause"]) == (1, "failed", "host", "exit: 3")
    assert (second["number"], second["kind"], second["session"]) == (2, "done", "session of a worker")
    lines = [line for line in command.ask("show", "a").splitlines() if line.startswith("attempt ")]
    assert lines[0].startswith("attempt      1 failed on host (session ) 20")
    assert lines[0].endswith(" s: exit: 3")
    assert lines[1].startswith("attempt      2 done on host (session ) 20")
