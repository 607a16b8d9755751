"""What the queue tells of each delivery of a task: each test's name is the promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from master.engine import SUSPECT_AFTER
from master.sql import KEPT_ATTEMPTS
from taskyard.model import Attempt
from tests.harness import LEASE_TIME, Harness, done, failed, released, task


@pytest.fixture
def harness(make: Callable[..., Harness]) -> Harness:
    """With a worker ``s`` on the host ``h``."""
    made = make()
    made.queue.heartbeat("s", {"host": "h"})
    return made


def kinds(harness: Harness, task_id: str) -> list[tuple[int, str]]:
    return [(attempt.number, attempt.kind) for attempt in harness.queue.attempts([task_id])]


def test_of_a_task_of_a_series_who_ran_it_and_when_is_known_though_nothing_is_written_for_each(harness: Harness) -> None:
    start = harness.time.wall
    harness.queue.submit([task(f"t-{number}") for number in range(5)])
    leases = harness.queue.lease("s", 4, 0)
    harness.advance(3)
    harness.queue.settle("s", [done(lease) for lease in leases[:3]])
    assert harness.queue.attempts(["t-1", "t-3", "t-4", "t-9"]) == [
        Attempt("t-1", 1, "h", "s", start, start + 3, "done", ""),
        Attempt("t-3", 1, "h", "s", start, 0.0, "leased", ""),
    ]


def test_failed_attempts_the_last_one_and_the_one_under_way_are_told_in_order(harness: Harness) -> None:
    start = harness.time.wall
    harness.queue.submit([task("a", retries=5, backoff=0), task("alone")])
    for number in range(2):
        leases = {lease.id: lease for lease in harness.queue.lease("s", 2, 0)}
        harness.advance(5)
        harness.queue.settle("s", [failed(leases["a"], f"exit: {number}"), *map(done, [leases["alone"]] if not number else [])])
        harness.advance(1)
    harness.queue.lease("s", 1, 0)
    assert harness.queue.attempts(["alone", "a"]) == [
        Attempt("alone", 1, "h", "s", start, start + 5, "done", ""),
        Attempt("a", 1, "h", "s", start, start + 5, "failed", "exit: 0"),
        Attempt("a", 2, "h", "s", start + 6, start + 11, "failed", "exit: 1"),
        Attempt("a", 3, "h", "s", start + 12, 0.0, "leased", ""),
    ]


def test_a_task_that_leaves_its_series_keeps_its_attempts(harness: Harness) -> None:
    harness.queue.submit([task(f"t-{number}", retries=1, backoff=0) for number in range(3)])
    harness.queue.settle("s", [failed(lease) for lease in harness.queue.lease("s", 2, 0)][:1])
    harness.advance(1)
    harness.queue.settle("s", list(map(done, harness.queue.lease("s", 1, 0))))
    assert kinds(harness, "t-0") == [(1, "failed"), (2, "done")]
    assert kinds(harness, "t-1") == [(1, "leased")]


def test_attempts_outlive_a_crash_and_are_gone_with_their_task(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=0), task("b", retries=0), *(task(f"t-{number}") for number in range(3))])
    leases = harness.queue.lease("s", 9, 0)
    harness.queue.settle("s", [failed(lease) if lease.id in "ab" else done(lease) for lease in leases])
    before = harness.queue.attempts(["a", "b", "t-2"])
    assert [attempt.kind for attempt in before] == ["failed", "failed", "done"]
    harness.reopen()
    assert harness.queue.attempts(["a", "b", "t-2"]) == before
    harness.queue.forget("job")
    assert harness.queue.attempts(["a", "b", "t-2"]) == []
    harness.queue.submit([task("a")])
    assert harness.queue.attempts(["a"]) == []
    assert harness.engine.store.rows("SELECT count(*) FROM attempt") == [(0,)]


def test_the_last_attempts_are_kept_also_of_a_task_that_is_retried(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=0)])
    for _ in range(KEPT_ATTEMPTS + 5):
        harness.advance(1)
        harness.queue.settle("s", [failed(harness.queue.lease("s", 1, 0)[0])])
        harness.queue.retry(["a"])
    told = harness.queue.attempts(["a"])
    assert [(attempt.number, attempt.kind) for attempt in told] == [(1, "failed")] * KEPT_ATTEMPTS
    assert told[-1].ended == harness.time.wall


def test_a_cancelled_task_tells_who_had_it(harness: Harness) -> None:
    start = harness.time.wall
    harness.queue.submit([task("a"), task("b")])
    harness.queue.lease("s", 1, 0)
    harness.advance(2)
    harness.queue.cancel(["a", "b"])
    assert harness.queue.attempts(["a", "b"]) == [Attempt("a", 1, "h", "s", start, start + 2, "cancelled", "cancelled")]


def test_what_was_given_back_or_lost_and_not_counted_is_no_attempt(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.settle("s", [released(lease) for lease in harness.queue.lease("s", 1, 0)])
    harness.queue.lease("s", 1, 0)
    harness.advance(LEASE_TIME + 1)
    assert harness.queue.attempts(["a"]) == []


def test_a_late_result_tells_who_brought_it(harness: Harness) -> None:
    harness.queue.submit([task("a"), *(task(f"t-{number}") for number in range(3))])
    leases = harness.queue.lease("s", 9, 0)
    harness.advance(LEASE_TIME + 1)
    harness.queue.settle("s", [done(lease) for lease in leases[:2]])
    now = harness.time.wall
    assert harness.queue.attempts(["a", "t-0"]) == [
        Attempt(task_id, 1, "", "s", 0.0, now, "done", "") for task_id in ("a", "t-0")
    ]
    assert harness.queue.attempts(["t-1"]) == []


def test_an_attempt_that_killed_its_worker_names_that_worker(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=0)])
    for number in range(SUSPECT_AFTER + 1):
        connection = harness.another()
        harness.queue.heartbeat(f"doomed {number}", {"host": "h"})
        assert connection.lease(f"doomed {number}", 1, 0)
        harness.close(connection)
    (attempt,) = harness.queue.attempts(["a"])
    assert (attempt.session, attempt.kind, attempt.cause[:11]) == (f"doomed {SUSPECT_AFTER}", "failed", "worker lost")


def test_what_attempts_tells_is_bounded_by_its_size(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.views.REPLY_BYTES", 100)
    harness.queue.submit([task(name, retries=0) for name in "abc"])
    harness.queue.settle("s", [failed(lease, "exit: " + "x" * 60) for lease in harness.queue.lease("s", 9, 0)])
    assert [attempt.id for attempt in harness.queue.attempts(["a", "b", "c"])] == ["a"]
    monkeypatch.setattr("master.views.REPLY_BYTES", 10)
    assert [attempt.id for attempt in harness.queue.attempts(["b", "c"])] == ["b"]
