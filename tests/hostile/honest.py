"""A client that means well, and what it may rely on while others attack."""

from __future__ import annotations

import time

import psutil

from taskyard.model import Details, Result
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import done, failed, task, wait_until
from tests.hostile.attacker import Attacker

PATIENCE = 4.0
"""Seconds within which it is served."""
ROUNDS = "the honest client's rounds"
OURS = "the honest client's"
COMPLAINTS = ("Traceback", "a call failed", "a connection failed", "Exception in thread")


class Honest:
    """Has one task in each state in the queue, but none that others could lease."""

    _made = 0

    def __init__(self, master: MasterProcess, queue: RemoteQueue) -> None:
        Honest._made += 1
        self._master = master
        self._queue = queue
        self._job = f"the honest client's job {Honest._made}"
        self._session = f"the honest client's session {Honest._made}"
        self._info = {"host": "honest", "slots": 1, "busy": 1, "tasks": [self._job], "draining": False}
        self._ids = [f"{self._job}: {state}" for state in ("done", "failed", "leased", "delayed", "cancelled")]
        queue.heartbeat(self._session, self._info)
        delays = (0, 0, 0, 10_000, 10_000)
        queue.submit(
            [task(task_id, job=self._job, name=self._job, delay=delay) for task_id, delay in zip(self._ids, delays, strict=True)]
        )
        for _ in range(3):
            (lease,) = queue.lease(self._session, 1, 5, [self._job])
            if not lease.id.endswith("leased"):
                queue.settle(self._session, [done(lease) if lease.id.endswith("done") else failed(lease)])
        queue.cancel(self._ids[-1:])
        self._told = len(master.log())
        self._before = self._looked()
        assert [one.state for one in self._before[0]] == ["done", "failed", "leased", "delayed", "cancelled"]

    def _looked(self) -> tuple[list[Details], list[Result]]:
        return self._queue.show(self._ids, True), self._queue.results(self._job, 0, 10, 0)

    def check(self) -> None:
        """Hold the master to it: served in time, on the connection that it has and on a new one; what it had is there still."""
        started = time.monotonic()
        assert self._queue.heartbeat(self._session, self._info).stop == []
        assert self._looked() == self._before
        with self._master.queue(PATIENCE) as newcomer:
            assert newcomer.show(self._ids, True) == self._before[0]
        assert time.monotonic() - started < PATIENCE
        assert self.complaints() == []

    def complaints(self) -> list[str]:
        """What the master's log says that it should not have to say."""
        told = self._master.log()[self._told :]
        return [told] if any(word in told for word in COMPLAINTS) else []


def rounds_per_second(queue: RemoteQueue, seconds: float) -> float:
    """How often one task is submitted, leased and settled."""
    ended = 0
    queue.heartbeat(ROUNDS, {"host": "honest", "slots": 1, "tasks": [ROUNDS]})  # else hostile workers know other tasks only
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        queue.submit([task(f"round {started} {ended}", job=ROUNDS, name=ROUNDS, result_ttl=0)])
        (lease,) = wait_until(lambda: queue.lease(ROUNDS, 1, 5, [ROUNDS]), "it is lent", 10)
        ended += queue.settle(ROUNDS, [done(lease)])
    return ended / passed


def tidy(master: MasterProcess) -> None:
    """Remove what is not the honest clients': who holds the key may fill the queue."""
    with master.queue(PATIENCE) as queue:
        for state in ("ready", "delayed"):
            while ids := [one.id for one in queue.find(state, None, 10_000, 0) if not one.job.startswith(OURS)]:
                queue.cancel(ids)
        for job in [one.job for one in queue.jobs(None, 100_000, 0) if not one.job.startswith(OURS)]:
            queue.forget(job)
    for ident in ("task", "result"):
        with Attacker(master).prove() as reader:
            while reader.ask((ident, "get_nowait", (), {}))[0] == "#RETURN":
                pass


def memory_of(master: MasterProcess) -> float:
    """MiB that the master holds."""
    assert master.process is not None
    return float(psutil.Process(master.process.pid).memory_info().rss) / 2**20


def descriptors_of(master: MasterProcess) -> int:
    """How many the master holds: each connection is one."""
    assert master.process is not None
    return int(psutil.Process(master.process.pid).num_fds())


def wait_until_all_left(master: MasterProcess, descriptors: int) -> None:
    """Return once the master has no more descriptors than these."""
    wait_until(lambda: descriptors_of(master) <= descriptors, f"the master has {descriptors} descriptors again", 30)
