"""A worker that is lent whole series: each of their tasks is one of its own, whatever happens to its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from signal import SIGKILL
from typing import Any, Self

import pytest

from taskyard.codec import decode, encode
from taskyard.model import Orders
from taskyard.series import LeaseSeries, OutcomeSeries, ids_of
from taskyard.settings import Settings
from taskyard.transport import RemoteQueue
from tests.harness import InThread, wait_until
from tests.programs.tasks import Gate
from worker import supervisor
from worker.supervisor import Supervisor

End = tuple[int, str, Any]
"""Of a task: token of its lease, kind of its outcome, its decoded value or the cause."""


class Lender(RemoteQueue):
    """A queue that lends what it is told to, and keeps what becomes of it."""

    def __init__(self) -> None:
        super().__init__("manager://nowhere:1", b"")
        self.leases: SimpleQueue[LeaseSeries] = SimpleQueue()
        self.outcomes: list[OutcomeSeries] = []
        self.to_stop: list[str] = []

    def another(self, patience: float | None = None, name: str = "") -> Self:
        return self

    def lend(self, name: str, *arguments: tuple[Any, ...], first: int = 0, token: int = 1) -> None:
        """A series of calls."""
        payloads = [encode((args, {})) for args in arguments]
        self.leases.put(LeaseSeries("job", first, token, 1, name, payloads, 0.0, "job"))

    def lease_series(self, session: str, limit: int, wait: float, names: Sequence[str] | None = None) -> list[LeaseSeries]:
        try:
            return [self.leases.get(timeout=0.1)]
        except Empty:
            return []

    def settle_series(self, session: str, outcomes: Sequence[OutcomeSeries]) -> int:
        self.outcomes += outcomes
        return len(outcomes)

    def heartbeat(self, session: str, info: dict[str, Any]) -> Orders:
        stop, self.to_stop = self.to_stop, []
        return Orders(stop, False)

    def leave(self, session: str) -> int:
        return 0

    def ends(self) -> dict[str, list[End]]:
        """Of each task what was said of it."""
        ends: dict[str, list[End]] = {}
        for one in list(self.outcomes):
            for task_id, value in zip(ids_of(one.prefix, one.first, len(one.values)), one.values, strict=True):
                said = decode(value) if one.kind == "done" else one.cause
                ends.setdefault(task_id, []).append((one.token, one.kind, said))
        return ends

    def wait_for(self, count: int) -> dict[str, list[End]]:
        """What was said of the tasks, once it was said of so many."""
        wait_until(lambda: len(self.ends()) >= count, f"outcomes of {count} tasks", 20)
        return self.ends()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Lender:
    lender = Lender()
    monkeypatch.setattr(supervisor, "RemoteQueue", lambda *_, **__: lender)
    return lender


@pytest.fixture
def worker(queue: Lender, tmp_path: Path) -> Iterator[Supervisor]:
    """A worker with two slots, its supervisor in this process."""
    settings = Settings(worker_app="tests.programs.tasks", worker_slots=2, worker_health_file=tmp_path / "health")
    worker = Supervisor(settings, b"")
    running = InThread(worker.run)
    yield worker
    worker.drain()
    worker.drain()
    running.result(20)


@pytest.mark.usefixtures("worker")
def test_each_task_of_long_series_is_settled_once_in_few_runs(queue: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STALE_SECONDS", 60.0)  # a slot that gets no processor is no long task
    for first in (0, 3000):
        queue.lend("square", *((n,) for n in range(first, first + 3000)), first=first, token=first)
    ends = queue.wait_for(6000)
    assert ends == {f"job-{n}": [(3000 * (n >= 3000), "done", f"{n} * {n} = {n * n}")] for n in range(6000)}
    assert len(queue.outcomes) < 600


@pytest.mark.usefixtures("worker")
def test_only_the_task_that_kills_its_slot_fails_of_it(queue: Lender, gate: Gate) -> None:
    folder = str(gate.folder)
    queue.lend("mark_and_die", *((folder, n, int(SIGKILL) if n == 40 else 0) for n in range(80)))
    ends = queue.wait_for(80)
    assert ends.pop("job-40") == [(1, "failed", "signal: SIGKILL (9)")]
    assert all(ends[f"job-{n}"] in ([(1, "done", n * n)], [(1, "released", "")]) for n in range(80) if n != 40)


@pytest.mark.usefixtures("worker")
def test_only_the_task_that_is_cancelled_is_stopped(queue: Lender, tmp_path: Path) -> None:
    gates = [Gate(tmp_path / name) for name in ("first", "second")]
    queue.lend("tidy_up", *((str(gate.folder),) for gate in gates))
    wait_until(lambda: all(gate.begun("asks") for gate in gates), "both run")
    queue.to_stop = ["job-1"]
    wait_until(lambda: gates[1].begun("tidy"), "the second was told", 20)
    assert not gates[0].begun("tidy")
    queue.to_stop = ["job-0"]
    wait_until(lambda: gates[0].begun("tidy"), "the first was told", 20)
    queue.lend("square", (3,), first=9)
    assert queue.wait_for(1) == {"job-9": [(1, "done", "3 * 3 = 9")]}, "nobody asks for the end of what was cancelled"


@pytest.mark.usefixtures("worker")
def test_after_a_reconnect_what_runs_goes_on_under_its_new_lease(queue: Lender, gate: Gate) -> None:
    arguments = [(str(gate.folder), name) for name in ("first", "second")]
    queue.lend("held", arguments[0], token=1)
    wait_until(lambda: gate.begun("first"), "it runs")
    queue.generation += 1
    queue.lend("held", *arguments, token=2)
    wait_until(lambda: gate.begun("second"), "the other slot has begun what nobody ran yet")
    gate.open()
    assert {task_id: said[0][:2] for task_id, said in queue.wait_for(2).items()} == {"job-0": (2, "done"), "job-1": (2, "done")}
    assert len(gate.begun("first")) == 1


def test_a_worker_that_stops_gives_back_what_has_not_begun(queue: Lender, worker: Supervisor, gate: Gate) -> None:
    queue.lend("held", *((str(gate.folder), f"task{n}") for n in range(1000)))
    wait_until(lambda: gate.begun("task0") and gate.begun("task1"), "the first two run")
    worker.drain()
    assert queue.wait_for(998) == {f"job-{n}": [(1, "released", "")] for n in range(2, 1000)}
    gate.open()
    ends = queue.wait_for(1000)
    assert [ends[f"job-{n}"][0][1] for n in range(2)] == ["done", "done"]
