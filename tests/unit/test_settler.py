"""Outcomes on their way to the queue: many at a time, and each of them kept until it was taken."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread

import pytest

from taskyard.errors import PayloadTooLarge, StoreFull
from taskyard.series import OutcomeSeries, ids_of
from taskyard.transport import RemoteQueue
from worker import links
from worker.links import SETTLE_BATCH, Settler

BOUND = 10
"""Bytes of a value that the queue below takes."""


class Settling(RemoteQueue):
    """A queue that keeps what is settled, call by call."""

    def __init__(self) -> None:
        super().__init__("manager://nowhere:1", b"")
        self.settled: list[list[OutcomeSeries]] = []
        self.full = 0
        """So many calls find the disk full."""

    def settle_series(self, session: str, outcomes: Sequence[OutcomeSeries]) -> int:
        if self.full:
            self.full -= 1
            raise StoreFull("no room")
        for series in outcomes:
            if max(map(len, series.values)) > BOUND:
                raise PayloadTooLarge("too large")
        self.settled.append(list(outcomes))
        return 1

    def ends(self) -> list[tuple[str, str, bytes]]:
        """Id, kind and value of each task."""
        return [
            (task_id, one.kind, value)
            for call in self.settled
            for one in call
            for task_id, value in zip(ids_of(one.prefix, one.first, len(one.values)), one.values, strict=True)
        ]


@pytest.fixture
def queue() -> Settling:
    return Settling()


def settle(queue: Settling, *outcomes: OutcomeSeries) -> None:
    """Settle all that there is, and return when that is done."""
    settler = Settler(queue, "session")
    settler.add(list(outcomes))
    thread = Thread(target=settler.run, daemon=True)
    thread.start()
    assert settler.stop(20) == 0
    thread.join(5)
    assert not thread.is_alive()


def done(prefix: str, first: int, *values: bytes) -> OutcomeSeries:
    return OutcomeSeries(prefix, first, 1, "done", values)


def test_outcomes_go_in_calls_of_some_thousand_tasks_whatever_series_they_are_in(queue: Settling) -> None:
    half = done("a", 0, *[b"v"] * (SETTLE_BATCH // 2))
    small = [done("b", n, b"v") for n in range(0, 20, 2)]
    settle(queue, half, *small, half._replace(first=SETTLE_BATCH), half._replace(prefix="c"))
    assert [sum(len(one.values) for one in call) for call in queue.settled] == [SETTLE_BATCH + 10, SETTLE_BATCH // 2]


def test_of_a_series_only_the_values_that_are_too_large_fail(queue: Settling) -> None:
    large = b"x" * (BOUND + 1)
    settle(queue, done("a", 7, b"0", large, b"2", b"3", large), done("alone", -1, large), done("b", 0, b"fine"))
    assert sorted(queue.ends()) == [
        ("a-10", "done", b"3"),
        ("a-11", "failed", b""),
        ("a-7", "done", b"0"),
        ("a-8", "failed", b""),
        ("a-9", "done", b"2"),
        ("alone", "failed", b""),
        ("b-0", "done", b"fine"),
    ]
    causes = {one.cause for call in queue.settled for one in call if one.kind == "failed"}
    assert causes == {"exception: PayloadTooLarge: what the task returned can't be kept: too large"}


def test_what_a_full_disk_refuses_is_settled_when_there_is_room(queue: Settling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "FULL_PAUSE", 0.001)
    queue.full = 3
    settle(queue, done("a", 0, b"0", b"1"))
    assert queue.ends() == [("a-0", "done", b"0"), ("a-1", "done", b"1")]


def test_a_stop_tells_how_many_outcomes_are_left(queue: Settling) -> None:
    settler = Settler(queue, "session")
    settler.add([done("a", 0, b"0", b"1"), done("b", 0, b"0")])
    assert settler.stop(0.0) == 3
