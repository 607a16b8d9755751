"""A task that must begin in time: each test's name is the promise, its body the transcript."""

from __future__ import annotations

import pytest

from tests.harness import LEASE_TIME, Harness, done, failed, released, task

LATE = ("failed", b"", "expired: not begun within 10 s", 0)


def result(harness: Harness) -> tuple[object, ...] | None:
    """State, value, cause and attempts of the one task, once it has ended."""
    results = harness.queue.results("job", 0, 10, 0)
    return results[0][2:] if results else None


@pytest.mark.parametrize("delay", [0, 60], ids=["ready", "delayed"])
def test_a_task_that_has_not_begun_in_time_ends_as_failed(harness: Harness, delay: float) -> None:
    harness.queue.submit([task("a", expiry=10, delay=delay, retries=5)])
    harness.advance(9)
    assert result(harness) is None
    harness.advance(1)
    assert result(harness) == LATE
    harness.advance(60)
    assert harness.queue.lease("s", 1, 0) == []


def test_a_task_is_not_lent_when_its_time_is_over_though_no_chore_has_seen_it_yet(harness: Harness) -> None:
    harness.queue.submit([task("late", expiry=10), task("a")])
    harness.committer.call(lambda: harness.time.move(0.0))
    harness.time.wall += 10  # of which the chores, on the other clock, know nothing
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["a"]
    harness.advance(1)
    assert result(harness) == LATE


def test_a_task_that_has_begun_in_time_may_take_any_time_and_every_retry(harness: Harness) -> None:
    harness.queue.submit([task("a", expiry=10, retries=1, backoff=20)])
    (lease,) = harness.queue.lease("s", 1, 0)
    harness.advance(LEASE_TIME / 2)
    assert [found.id for found in harness.queue.find("leased", None, 10, 0)] == ["a"]
    harness.queue.settle("s", [failed(lease)])
    harness.advance(25)
    harness.queue.settle("s", [done(harness.queue.lease("s", 1, 0)[0])])
    assert result(harness) == ("done", b"value", "", 2)


@pytest.mark.parametrize("how", ["released", "left", "cut off", "crashed"])
def test_a_task_given_back_before_it_was_tried_must_still_begin_in_time(harness: Harness, how: str) -> None:
    harness.queue.submit([task("a", expiry=10)])
    connection = harness.another()
    (lease,) = connection.lease("s", 1, 0)
    harness.advance(11)
    if how == "released":
        connection.settle("s", [released(lease)])
    elif how == "left":
        connection.leave("s")
    elif how == "cut off":
        harness.close(connection)
    else:
        harness.reopen()
    assert harness.queue.lease("t", 1, 0) == []
    harness.advance(1)
    assert result(harness) == LATE


def test_a_late_done_counts_where_the_task_has_not_expired_yet(harness: Harness) -> None:
    harness.queue.submit([task("a", expiry=10)])
    (lease,) = harness.queue.lease("s", 1, 0)
    harness.advance(11)
    harness.reopen()
    harness.queue.settle("s", [done(lease)])
    assert result(harness) in [("done", b"value", "", 1), LATE]
    harness.advance(1)
    assert len(harness.queue.results("job", 0, 10, 0)) == 1


def test_an_expired_task_that_is_retried_has_all_the_time(harness: Harness) -> None:
    harness.queue.submit([task("a", expiry=10)])
    harness.advance(10)
    assert harness.queue.retry(["a"]) == 1
    harness.advance(1000)
    assert [(lease.id, lease.attempt) for lease in harness.queue.lease("s", 1, 0)] == [("a", 1)]
    assert harness.queue.show(["a"])[0].begin_by == 0


def test_an_expired_task_that_is_retried_is_lent_in_its_turn(harness: Harness) -> None:
    harness.queue.submit([task("first", priority=1), task("late", expiry=10), task("last")])
    harness.advance(10)
    harness.queue.retry(["late"])
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["first", "late", "last"]


def test_the_time_within_which_a_task_must_begin_goes_on_over_a_crash(harness: Harness) -> None:
    harness.queue.submit([task("a", expiry=10), task("b", job="another job")])
    harness.advance(9)
    harness.reopen()
    assert result(harness) is None
    harness.advance(1)
    assert result(harness) == LATE
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["b"]


def test_more_tasks_than_one_chore_handles_expire_together(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.chores.CHORES_LIMIT", 3)
    harness.queue.submit([task(f"running {n}", expiry=10) for n in range(4)])
    harness.queue.lease("s", 4, 0)
    harness.queue.submit([task(str(n), expiry=10.5) for n in range(8)])
    harness.advance(11)
    causes = [result.cause for result in harness.queue.results("job", 0, 100, 0)]
    assert causes == ["expired: not begun within 10.5 s"] * 8
    assert harness.queue.stats()["leased"] == 4
