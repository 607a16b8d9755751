"""What a queue promises to clients: each test's name is the promise, its body the transcript."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from master.backlog import Backlog
from taskyard.errors import BadRequest, PayloadTooLarge, QueueFull
from taskyard.model import Found, Result
from tests.harness import LEASE_TIME, Harness, InThread, done, failed, task

# Submitting


def test_a_task_is_taken_once_however_often_it_is_submitted(harness: Harness) -> None:
    assert harness.queue.submit([task("a"), task("b"), task("a")]) == 2
    assert harness.queue.submit([task("a"), task("c")]) == 1
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["a", "b", "c"]


def test_a_task_submitted_again_after_its_end_keeps_its_first_result(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.settle("s", [done(harness.queue.lease("s", 1, 0)[0], b"first")])
    assert harness.queue.submit([task("a")]) == 0
    assert harness.queue.lease("s", 1, 0) == []
    assert [result.value for result in harness.queue.results("job", 0, 10, 0)] == [b"first"]


def test_higher_priority_goes_first_and_then_the_older(harness: Harness) -> None:
    harness.queue.submit([task("low", priority=-1), task("old"), task("high", priority=5), task("new")])
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["high", "old", "new", "low"]


def test_a_lease_carries_all_that_the_worker_needs(harness: Harness) -> None:
    harness.queue.submit([task("a", name="add", payload=b"1+1", time_limit=2.5)])
    (lease,) = harness.queue.lease("s", 1, 0)
    assert lease._replace(token=0) == ("a", 0, 1, "add", b"1+1", 2.5, "job")


@pytest.mark.parametrize("size", [0, 3_000, 1_000_000], ids=["none", "3 kB", "1 MB"])
def test_payloads_and_values_come_out_as_they_went_in(harness: Harness, size: int) -> None:
    payload, value = b"p" * size, b"v" * size
    harness.queue.submit([task("a", payload=payload), task("b", payload=payload)])
    leases = harness.queue.lease("s", 10, 0)
    assert [lease.payload for lease in leases] == [payload, payload]
    harness.queue.settle("s", [done(lease, value) for lease in leases])
    assert [result.value for result in harness.queue.results("job", 0, 10, 0)] == [value, value]


def test_a_delayed_task_is_leased_when_it_is_due_and_not_before(harness: Harness) -> None:
    harness.queue.submit([task("a", delay=60)])
    harness.advance(59)
    assert harness.queue.lease("s", 1, 0) == []
    assert harness.queue.stats()["delayed"] == 1
    harness.advance(2)
    assert [lease.id for lease in harness.queue.lease("s", 1, 0)] == ["a"]


def test_a_full_queue_takes_nothing_and_acknowledges_what_it_has(make: Callable[..., Harness]) -> None:
    queue = make(bound=2).queue
    queue.submit([task("a"), task("b", delay=60)])
    with pytest.raises(QueueFull, match="MASTER_BOUND"):
        queue.submit([task("a"), task("c")])
    assert queue.stats()["ready"] == 1
    assert queue.submit([task("a"), task("b")]) == 0
    queue.settle("s", [done(queue.lease("s", 1, 0)[0])])
    assert queue.submit([task("c"), task("c")]) == 1


def test_a_payload_over_the_bound_is_refused_with_its_whole_batch(make: Callable[..., Harness]) -> None:
    queue = make(payload_limit=1000).queue
    with pytest.raises(PayloadTooLarge, match=r"1,001 bytes.*1,000.*MASTER_PAYLOAD_LIMIT"):
        queue.submit([task("a"), task("b", payload=b"x" * 1001)])
    assert queue.submit([task("a", payload=b"x" * 1000)]) == 1
    (lease,) = queue.lease("s", 1, 0)
    with pytest.raises(PayloadTooLarge):
        queue.settle("s", [done(lease, b"x" * 1001)])
    assert queue.settle("s", [done(lease, b"x" * 1000)]) == 1


def test_a_backlog_longer_than_memory_keeps_its_order(make: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backlog.__init__, "__defaults__", (4,))
    queue = make().queue
    for start in range(0, 60, 5):
        queue.submit([task(f"{n:02}", priority=n % 3) for n in range(start, start + 5)])
    expected = sorted((f"{n:02}" for n in range(60)), key=lambda name: (-(int(name) % 3), name))
    got: list[str] = []
    while leases := queue.lease("s", 7, 0):
        got += [lease.id for lease in leases]
    assert got == expected


# Results


def test_results_are_read_by_a_cursor_and_per_job(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("other", job="another job"), task("b"), task("c")])
    harness.queue.settle("s", [done(lease, lease.id.encode()) for lease in harness.queue.lease("s", 10, 0)])
    first = harness.queue.results("job", 0, 2, 0)
    assert [(r.id, r.state, r.value, r.cause, r.attempts) for r in first] == [
        ("a", "done", b"a", "", 1),
        ("b", "done", b"b", "", 1),
    ]
    rest = harness.queue.results("job", first[-1].cursor, 10, 0)
    assert [result.id for result in rest] == ["c"]
    assert harness.queue.results("job", rest[-1].cursor, 10, 0) == []
    assert harness.queue.results("no such job", 0, 10, 0) == []


def test_a_page_of_results_is_bounded_by_its_size(make: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.views.REPLY_BYTES", 100)
    queue = make().queue
    queue.submit([task(name) for name in "abc"])
    queue.settle("s", [done(lease, b"v" * 60) for lease in queue.lease("s", 10, 0)])
    assert [result.id for result in queue.results("job", 0, 10, 0)] == ["a"]
    queue.submit([task(name, job="big") for name in "xy"])
    queue.settle("s", [done(lease, b"v" * 200) for lease in queue.lease("s", 10, 0)])
    assert [result.id for result in queue.results("big", 0, 10, 0)] == ["x"]


def test_a_reader_that_waits_is_woken_by_a_result_of_its_job_only(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("other", job="another job")])
    mine, other = harness.queue.lease("s", 10, 0)
    reading = harness.another()
    waiting = InThread(lambda: reading.results("job", 0, 10, 20))
    harness.queue.settle("s", [done(other)])
    harness.queue.settle("s", [done(mine)])
    assert [result.id for result in waiting.result()] == ["a"]


def test_a_reader_is_woken_by_a_cancelled_task(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    reading = harness.another()
    waiting = InThread(lambda: reading.results("job", 0, 10, 20))
    harness.queue.cancel(["a"])
    assert [result.state for result in waiting.result()] == ["cancelled"]


def test_waiting_for_results_ends_empty_when_the_time_is_over(harness: Harness) -> None:
    assert harness.queue.results("job", 0, 10, 0.05) == []


def test_a_result_is_kept_for_its_time_and_then_forgotten(harness: Harness) -> None:
    harness.queue.submit([task("a", result_ttl=100)])
    harness.queue.settle("s", [done(harness.queue.lease("s", 1, 0)[0])])
    harness.advance(99)
    assert len(harness.queue.results("job", 0, 10, 0)) == 1
    harness.advance(2)
    assert harness.queue.results("job", 0, 10, 0) == []
    assert harness.queue.stats()["done"] == 0


def test_forget_deletes_the_ended_tasks_of_a_job_and_no_other(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b"), task("other", job="another job")])
    a, b, other = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [done(a), done(other)])
    assert harness.queue.forget("job") == 1
    assert harness.queue.results("job", 0, 10, 0) == []
    assert len(harness.queue.results("another job", 0, 10, 0)) == 1
    harness.queue.settle("s", [done(b)])
    assert [result.id for result in harness.queue.results("job", 0, 10, 0)] == ["b"]


@pytest.mark.parametrize("how", ["forgotten", "expired", "retried"])
def test_a_reader_misses_nothing_though_the_last_results_are_gone_in_a_crash(harness: Harness, how: str) -> None:
    harness.queue.submit([task("a"), task("b", retries=0, result_ttl=5)])
    a, b = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [failed(b)])
    last = harness.queue.results("job", 0, 10, 0)[-1].cursor
    if how == "forgotten":
        harness.queue.forget("job")
    elif how == "expired":
        harness.advance(6)
    else:
        harness.queue.retry(["b"])
    harness.reopen()
    harness.queue.settle("s", [done(a)])
    assert [result.id for result in harness.queue.results("job", last, 10, 0)] == ["a"]


# Cancelling, retrying, finding


def test_ready_and_delayed_tasks_are_cancelled_at_once(harness: Harness) -> None:
    harness.queue.submit([task("ready"), task("delayed", delay=60)])
    assert harness.queue.cancel(["ready", "delayed", "unknown"]) == 2
    assert harness.queue.cancel(["ready", "delayed"]) == 0
    harness.advance(61)
    assert harness.queue.lease("s", 1, 0) == []
    assert [(r.id, r.state, r.cause) for r in harness.queue.results("job", 0, 10, 0)] == [
        ("ready", "cancelled", "cancelled"),
        ("delayed", "cancelled", "cancelled"),
    ]


def test_a_leased_task_is_cancelled_and_what_its_worker_settles_does_not_count(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b")])
    a, b = harness.queue.lease("s", 10, 0)
    assert harness.queue.cancel(["a"]) == 1
    assert harness.queue.heartbeat("another", {"host": "h"}).stop == []
    assert harness.queue.heartbeat("s", {"host": "h"}).stop == ["a"]
    assert harness.queue.settle("s", [done(a), done(b)]) == 1
    assert [result.state for result in harness.queue.results("job", 0, 10, 0)] == ["cancelled", "done"]


def test_a_heartbeat_that_is_repeated_tells_of_cancelled_tasks_again(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.lease("s", 1, 0)
    harness.queue.cancel(["a"])
    assert [harness.queue.heartbeat("s", {"host": "h"}).stop for _ in range(2)] == [["a"], ["a"]]
    for _ in range(3):
        harness.advance(LEASE_TIME / 2)
        told = harness.queue.heartbeat("s", {"host": "h"}).stop
    assert told == [], "but not for ever"


def test_what_has_ended_cannot_be_cancelled(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b", retries=0)])
    a, b = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [done(a), failed(b)])
    assert harness.queue.cancel(["a", "b"]) == 0
    assert [result.state for result in harness.queue.results("job", 0, 10, 0)] == ["done", "failed"]


def test_retry_starts_a_failed_task_anew_and_nothing_else(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=0), task("b"), task("c")])
    a, b = harness.queue.lease("s", 2, 0)
    harness.queue.settle("s", [failed(a), done(b)])
    cursor = harness.queue.results("job", 0, 10, 0)[-1].cursor
    assert harness.queue.retry(["a", "b", "c", "unknown"]) == 1
    again = {lease.id: lease for lease in harness.queue.lease("s", 10, 0)}
    assert again["a"].attempt == 1
    assert again["a"].token != a.token
    harness.queue.settle("s", [done(again["a"])])
    assert [(r.id, r.state, r.attempts) for r in harness.queue.results("job", cursor, 10, 0)] == [("a", "done", 1)]


def test_find_tells_the_tasks_of_a_state_in_pages(harness: Harness) -> None:
    harness.queue.submit([task("d", delay=60), *(task(name, priority=2 if name == "l2" else 0) for name in ("r1", "l2", "r3"))])
    harness.queue.submit([task("x", job="another job", priority=1), task("f", priority=3, retries=0), task("o", priority=3)])
    failing, ok = harness.queue.lease("s", 2, 0)
    harness.queue.settle("s", [failed(failing, "exit: 3"), done(ok)])
    assert [lease.id for lease in harness.queue.lease("s", 1, 0)] == ["l2"]
    harness.queue.cancel(["r3"])

    def ids(state: str, job: str | None = None, limit: int = 10, after: int = 0) -> list[str]:
        return [found.id for found in harness.queue.find(state, job, limit, after)]

    assert ids("ready") == ["r1", "x"]
    assert ids("ready", None, 1, 0) + ids("ready", None, 1, 1) + ids("ready", None, 1, 2) == ["r1", "x"]
    assert ids("ready", "another job") == ["x"]
    assert [ids(state) for state in ("leased", "delayed", "done", "cancelled")] == [["l2"], ["d"], ["o"], ["r3"]]
    assert ids("leased", "another job") == ids("leased", None, 10, 1) == []
    now = harness.time.wall
    assert harness.queue.find("leased", None, 10, 0)[0] == Found("l2", "job", "work", "leased", 2, 0, "", now)
    assert harness.queue.find("failed", "job", 10, 0) == [Found("f", "job", "work", "failed", 3, 1, "exit: 3", now)]
    with pytest.raises(BadRequest, match="no state 'lost'"):
        harness.queue.find("lost", None, 10, 0)


def test_stats_count_every_task_in_exactly_one_state(harness: Harness) -> None:
    harness.queue.submit([task(name, retries=0) for name in "abcde"] + [task("f", delay=5)])
    a, b, c, _ = harness.queue.lease("s", 4, 0)
    harness.queue.settle("s", [done(a), failed(b)])
    harness.queue.cancel([c.id])
    stats = harness.queue.stats()
    counted = {state: stats[state] for state in ("ready", "leased", "delayed", "done", "failed", "cancelled")}
    assert counted == {"ready": 1, "leased": 1, "delayed": 1, "done": 1, "failed": 1, "cancelled": 1}
    assert (stats["bound"], stats["lease"], stats["items"]) == (10_000_000, LEASE_TIME, {"task": 0, "result": 0})
    assert stats["bytes"] > 0


# Crashes


def test_a_crash_keeps_every_task_and_result_and_gives_out_again_what_was_leased(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b", payload=b"x" * 5000), task("c", delay=60), task("d"), task("e", retries=3)])
    leases = {lease.id: lease for lease in harness.queue.lease("s", 10, 0)}
    harness.queue.settle("s", [done(leases["a"], b"kept"), failed(leases["e"], "signal: SIGKILL (9)")])
    harness.queue.cancel(["d"])
    before = harness.queue.results("job", 0, 10, 0)
    harness.reopen()
    assert harness.queue.results("job", 0, 10, 0) == before
    assert [(r.id, r.state) for r in before] == [("a", "done"), ("d", "cancelled")]
    stats = harness.queue.stats()
    assert (stats["ready"], stats["leased"], stats["delayed"], stats["done"]) == (1, 0, 2, 1)
    (again,) = harness.queue.lease("s", 10, 0)
    assert (again.id, again.payload, again.attempt) == ("b", b"x" * 5000, 1)
    assert again.token != leases["b"].token
    harness.queue.settle("s", [done(again)])
    harness.advance(61)
    assert [(lease.id, lease.attempt) for lease in harness.queue.lease("s", 10, 0)] == [("c", 1), ("e", 2)]


def test_work_that_was_under_way_in_a_crash_still_counts_when_it_is_done(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    (lease,) = harness.queue.lease("s", 1, 0)
    harness.reopen()
    assert harness.queue.settle("s", [failed(lease)]) == 0
    assert harness.queue.settle("s", [done(lease, b"late")]) == 1
    assert harness.queue.lease("s", 1, 0) == []
    (result,) = harness.queue.results("job", 0, 10, 0)
    assert result == Result(result.cursor, "a", "done", b"late", "", 1)
