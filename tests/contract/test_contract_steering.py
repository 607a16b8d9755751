"""What people may do to a queue that works: each test's name is the promise."""

from __future__ import annotations

import pytest

from master.committer import LEASE
from taskyard.errors import StoreFull
from taskyard.model import Orders
from tests.harness import LEASE_TIME, Harness, InThread, done, failed, schedule, task

# Pausing


def test_a_paused_queue_lends_nothing_and_takes_what_comes(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b")])
    (lease,) = harness.queue.lease("s", 1, 0)
    assert harness.queue.pause(True) is True
    assert harness.queue.stats()["paused"] is True
    assert harness.queue.lease("s", 1, 0) == []
    assert harness.queue.submit([task("c")]) == 1
    assert harness.queue.settle("s", [done(lease)]) == 1
    assert [result.id for result in harness.queue.results("job", 0, 10, 0)] == ["a"]
    assert harness.queue.pause(False) is True
    assert harness.queue.stats()["paused"] is False
    assert [lease.id for lease in harness.queue.lease("s", 9, 0)] == ["b", "c"]


def test_pausing_what_is_paused_is_no_news(harness: Harness) -> None:
    assert [harness.queue.pause(paused) for paused in (False, True, True, False, False)] == [False, True, False, True, False]


def test_a_lease_that_waits_for_a_paused_queue_is_woken_when_it_goes_on(harness: Harness) -> None:
    harness.queue.pause(True)
    waiting = harness.another()
    lease = InThread(lambda: waiting.lease("s", 1, 20))
    harness.wait_until_one_waits(LEASE)
    harness.queue.submit([task("a")])
    harness.wait_until_one_waits(LEASE)
    harness.queue.pause(False)
    assert [leased.id for leased in lease.result()] == ["a"]


def test_a_queue_stays_paused_over_a_crash(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.pause(True)
    harness.reopen()
    assert harness.queue.stats()["paused"] is True
    assert harness.queue.lease("s", 1, 0) == []
    harness.queue.pause(False)
    harness.reopen()
    assert [lease.id for lease in harness.queue.lease("s", 1, 0)] == ["a"]


def test_a_pause_that_the_disk_refuses_is_none(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.queue.submit([task("a")])

    store, commit = harness.engine.store, harness.engine.store.commit

    def refuse() -> bool:
        if store._open_transaction:
            raise StoreFull("no room")
        return commit()

    monkeypatch.setattr(store, "commit", refuse)
    with pytest.raises(StoreFull):
        harness.queue.pause(True)
    monkeypatch.undo()
    assert harness.queue.stats()["paused"] is False
    assert [lease.id for lease in harness.queue.lease("s", 1, 0)] == ["a"]


def test_no_name_becomes_unknown_while_the_queue_is_paused(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.pause(True)

    def wait(times: int) -> int:
        for _ in range(times):
            harness.queue.heartbeat("other", {"host": "h", "tasks": ["another name"]})
            harness.advance(LEASE_TIME * 0.6)
        return int(harness.queue.stats()["failed"])

    assert wait(5) == 0
    harness.queue.pause(False)
    assert wait(1) == 0  # it counts from now on
    assert wait(2) == 1


def test_delays_expiries_and_schedules_go_on_while_the_queue_is_paused(harness: Harness) -> None:
    harness.queue.heartbeat("s", {"tasks": ["work"], "schedules": [tuple(schedule("every 20"))]})
    harness.queue.submit([task("later", delay=5), task("soon", expiry=10)])
    harness.queue.pause(True)
    for _ in range(2):
        harness.advance(20)
    assert {found.job for found in harness.queue.find("ready", None, 10, 0)} == {"job", "schedule-work"}
    (result,) = harness.queue.results("job", 0, 10, 0)
    assert (result.id, result.cause) == ("soon", "expired: not begun within 10 s")


# Draining


def test_a_worker_that_is_to_drain_is_lent_nothing_and_hears_of_it_with_its_heartbeat(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b"), task("c")])
    for session in ("s", "t"):
        assert harness.queue.heartbeat(session, {"host": "h"}) == Orders([], False)
    (lease,) = harness.queue.lease("s", 1, 0)
    assert harness.queue.drain(["s", "unknown"]) == 1
    assert harness.queue.lease("s", 1, 0) == []
    assert {worker.session: worker.draining for worker in harness.queue.workers()} == {"s": True, "t": False}
    assert harness.queue.heartbeat("t", {"host": "h"}) == Orders([], False)
    assert [harness.queue.heartbeat("s", {"host": "h"}) for _ in range(2)] == [Orders([], True)] * 2
    assert harness.queue.settle("s", [done(lease)]) == 1
    assert [lease.id for lease in harness.another().lease("t", 2, 0)] == ["b"]


def test_a_lease_that_waits_ends_once_the_worker_has_heard_that_it_is_to_drain(harness: Harness) -> None:
    waiting = harness.another()
    harness.queue.heartbeat("s", {"host": "h"})
    lease = InThread(lambda: waiting.lease("s", 1, 20))
    harness.wait_until_one_waits(LEASE)
    harness.queue.drain(["s"])
    harness.queue.submit([task("a")])
    harness.wait_until_one_waits(LEASE)  # not before, or it would ask again and again until its heart has heard of it
    harness.queue.heartbeat("s", {"host": "h", "draining": True})
    assert lease.result() == []
    assert harness.queue.stats()["ready"] == 1


def test_a_worker_that_comes_back_after_a_cut_is_still_to_drain(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.heartbeat("s", {"host": "h"})
    connection = harness.another()
    connection.lease("s", 1, 0)
    harness.queue.drain(["s"])
    harness.close(connection)
    assert harness.another().lease("s", 1, 0) == []
    assert harness.queue.heartbeat("s", {"host": "h"}) == Orders([], True)


def test_only_workers_that_are_there_can_be_told_to_drain(harness: Harness) -> None:
    harness.queue.lease("never said who it was", 1, 0)
    harness.queue.heartbeat("gone", {"host": "h"})
    harness.queue.leave("gone")
    assert harness.queue.drain(["never said who it was", "gone"]) == 0
    assert harness.queue.drain([]) == 0


# Retrying all of a kind


def test_all_failed_tasks_of_a_kind_are_retried_and_no_others(harness: Harness) -> None:
    named = {
        "a": ("add", "one", "exit: 1"),
        "b": ("mul", "one", "exit: 2"),
        "c": ("add", "two", "exception: KeyError"),
        "d": ("add", "one", "exit: 1"),
    }
    harness.queue.submit([task(task_id, name=name, job=job, retries=0) for task_id, (name, job, _) in named.items()])
    harness.queue.submit([task("delayed", name="add", job="one", delay=60)])

    def fail_all() -> None:
        harness.queue.settle("s", [failed(lease, named[lease.id][2]) for lease in harness.queue.lease("s", 9, 0)])

    def ready() -> str:
        return "".join(found.id for found in harness.queue.find("ready", None, 10, 0))

    for kind, ids in (
        ((None, None, None), "abcd"),
        (("add", None, None), "acd"),
        ((None, "one", None), "abd"),
        ((None, None, "exit: "), "abd"),
        ((None, None, "exit: 2"), "b"),
        (("add", "one", "ex"), "ad"),
        (("add", "one", "1"), ""),
        (("div", None, None), ""),
    ):
        fail_all()
        assert harness.queue.retry_all(*kind) == len(ids)
        assert ready() == ids
    assert harness.queue.stats()["delayed"] == 1


def test_more_than_one_call_moves_are_retried_those_first_that_failed_first(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("master.steering", "taskyard.transport"):
        monkeypatch.setattr(f"{place}.RETRY_LIMIT", 2)
    harness.queue.submit([task(name, retries=0) for name in "abcde"])
    for lease in reversed(harness.queue.lease("s", 9, 0)):
        harness.queue.settle("s", [failed(lease)])
    assert harness.queue._call("retry_all", None, None, None) == 2
    assert [found.id for found in harness.queue.find("ready", None, 10, 0)] == ["d", "e"]
    assert harness.queue.retry_all(None, None, None) == 3
    assert harness.queue.stats()["failed"] == 0
    assert harness.queue.results("job", 0, 10, 0) == []
