"""The same ten thousand tasks for each part of the product, by one thread and no clock: what that takes can be counted.

``python -m tests.speed.work PART TASKS`` does a part's share of so many tasks, for programs that count instructions.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from master.engine import Clock, Engine
from master.store import Store
from taskyard import outbox, wire
from taskyard.calls import pack_plain
from taskyard.codec import encode
from taskyard.exchange import Exchange
from taskyard.futures import Block, OpenCalls, TaskFuture
from taskyard.mapping import Mapping
from taskyard.options import Options
from taskyard.outbox import Outbox
from taskyard.series import LeaseSeries, OutcomeSeries, ResultSeries, TaskSeries
from worker import slot
from worker.reports import Reports

SUBMITTED, LENT, SETTLED = 500, 250, 50
"""Tasks in one message each, about what a loaded cluster makes of single short ones."""
CALLS = 1000
"""In one task of many."""
VALUE = encode(49)


class Master:
    """Requests as bytes in, replies as bytes out, over an engine on the disk."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(Store(folder), clock=Clock(lambda: 1.7e9, lambda: 1000.0))

    def ask(self, verb: str, *args: object) -> Any:
        """One call, as the server, the committer and the connections deal with it."""
        _, name, received, _ = wire.load(pickle.dumps(("queue", verb, args, {}), protocol=5))
        connection = ("a connection",) if name == "lease" else ()
        reply = pickle.dumps(("#RETURN", getattr(self.engine, name)(*connection, *received)), protocol=5)
        self.engine.commit()
        return wire.load(reply)[1]

    def work(self, tasks: int) -> None:
        """Each task from its submit to its result, in series."""
        payload = encode(((7,), {}))
        cursor = 0
        for first in range(0, tasks, SUBMITTED):
            self.ask("submit", [tuple(TaskSeries("job", first, "job", "square", [payload] * SUBMITTED))])
            for _ in range(0, SUBMITTED, LENT):
                for lease in map(LeaseSeries._make, self.ask("lease", "session", LENT, None)):
                    for begin in range(0, len(lease.payloads), SETTLED):
                        values = [VALUE] * SETTLED
                        done = OutcomeSeries(lease.prefix, lease.first + begin, lease.token, "done", values)
                        self.ask("settle", "session", [tuple(done)])
            last = ResultSeries(*self.ask("results", "job", cursor, 5000)[-1])
            cursor = last.cursor + len(last.values) - 1
        assert cursor == tasks, f"{cursor} of {tasks} tasks have a result"

    def work_alone(self, tasks: int) -> None:
        """The same with a message for each."""
        for number in range(tasks):
            self.ask("submit", [tuple(TaskSeries("alone", 2 * number, "alone", "square", [encode(((7,), {}))]))])
            ((prefix, first, token, *_),) = self.ask("lease", "session", 10, None)
            self.ask("settle", "session", [tuple(OutcomeSeries(prefix, first, token, "done", [VALUE]))])
            assert len(self.ask("results", "alone", number, 10)) == 1


def master(tasks: int) -> None:
    """The master's share of tasks that come in series."""
    with tempfile.TemporaryDirectory() as folder:
        Master(Path(folder)).work(tasks)


def master_alone(tasks: int) -> None:
    """The master's share of tasks that come one by one; a twentieth of them."""
    with tempfile.TemporaryDirectory() as folder:
        Master(Path(folder)).work_alone(tasks // 20)


class Client:
    """Open calls whose results come as soon as they are sent."""

    def __init__(self) -> None:
        self.calls = OpenCalls("job")
        self.options = Options(name="square")
        self._number = self._cursor = 0
        self._outbox = Outbox()

    def send(self, payloads: list[bytes], count: int, _: Block | None) -> Block:
        """As `taskyard.exchange.Exchange.add_block`."""
        block = Block(self.calls, self._number, len(payloads))
        self.calls.update(dict.fromkeys(range(self._number, self._number + len(payloads)), block))
        self._outbox.post(self.options, self._number, payloads)
        self._number += len(payloads)
        self.answer()
        return block

    def submit(self, payload: bytes) -> TaskFuture:
        """As `taskyard.exchange.Exchange.add`; answered later."""
        future = self.calls[self._number] = TaskFuture(self._number, cast(Exchange, None))
        self._outbox.post(self.options, self._number, [payload])
        self._number += 1
        return future

    def answer(self) -> None:
        """Results of all that was sent."""
        for series in outbox.to_series(self._outbox.take(10**9), "job", "job"):
            sent = TaskSeries(*wire.load(pickle.dumps(tuple(series), protocol=5)))
            values = [VALUE] * len(sent.payloads)
            results = ResultSeries(self._cursor + 1, sent.prefix, sent.first, "done", values, "", 1)
            self._cursor += len(values)
            self.calls.take([ResultSeries(*wire.load(pickle.dumps(tuple(results), protocol=5)))])


def client_map(tasks: int) -> None:
    """The client's share of ``map(chunksize=1)``."""
    client = Client()
    arguments: Iterator[tuple[int]] = zip(range(tasks), strict=True)
    mapping = Mapping(arguments, lambda args: encode((args, {})), client.send, 1, 5000, True)
    results = list(mapping.begin(None, True))
    assert results == [49] * tasks, "each call has its result"


def client_submit(tasks: int) -> None:
    """The client's share of ``submit`` and a future each."""
    client = Client()
    for _ in range(0, tasks, SUBMITTED):
        futures = [client.submit(encode(((number,), {}))) for number in range(SUBMITTED)]
        client.answer()
        assert [future.result() for future in futures] == [49] * SUBMITTED, "each call has its result"


def _square(n: int) -> int:
    return n * n


def _run_chunks(payload: bytes, chunks: int) -> None:
    shared = [*slot.AT_FIRST]
    with Connection(os.open(os.devnull, os.O_WRONLY), readable=False) as nowhere:
        runner = slot.Runner("app.tasks", {"square": _square}, False, shared, Reports(nowhere))
        for _ in range(chunks):
            runner.run_chunk([("job", 0, "square", 1, [payload] * SETTLED)])


def slot_alone(tasks: int) -> None:
    """A slot's share of tasks of one call."""
    _run_chunks(encode(((7,), {})), tasks // SETTLED)


def slot_many(tasks: int) -> None:
    """A slot's share of tasks of many calls: ten times as many calls."""
    _run_chunks(pack_plain([(number,) for number in range(CALLS)]), tasks * 10 // CALLS // SETTLED)


PARTS: dict[str, Callable[[int], None]] = {
    part.__name__: part for part in (master, master_alone, client_map, client_submit, slot_alone, slot_many)
}

if __name__ == "__main__":
    PARTS[sys.argv[1]](int(sys.argv[2]))
