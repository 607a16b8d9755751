"""A wall clock that is set right while tasks wait by it: each test's name is the promise, its body the transcript."""

from __future__ import annotations

import pytest

from taskyard.errors import StoreFull
from tests.harness import Harness, failed, task

HOUR = 3600.0


def names(harness: Harness) -> list[str]:
    """What can be leased now."""
    return [lease.id for lease in harness.queue.lease("s", 10, 0)]


def set_back(harness: Harness, crash: bool) -> None:
    """The clock was an hour ahead, and is right again."""
    if crash:
        harness.time.wall -= HOUR
        harness.reopen()
    else:
        harness.committer.call(lambda: setattr(harness.time, "wall", harness.time.wall - HOUR))
    harness.advance(0.5)


@pytest.mark.parametrize("crash", [False, True], ids=["while it runs", "while it is down"])
def test_a_task_that_was_put_off_by_a_clock_that_is_then_set_back_waits_for_its_delay_and_no_longer(
    harness: Harness, crash: bool
) -> None:
    harness.advance(1)
    harness.queue.submit([task("a", delay=10)])
    harness.advance(1)
    set_back(harness, crash)
    harness.advance(8)
    assert names(harness) == []
    harness.advance(2)
    assert names(harness) == ["a"]


def test_a_task_that_was_put_off_by_a_clock_that_was_then_set_back_waits_no_less_when_the_master_starts_anew(
    harness: Harness,
) -> None:
    harness.advance(1)
    harness.queue.submit([task("a", delay=0.5 * HOUR)])
    harness.advance(1)
    set_back(harness, crash=False)
    harness.advance(600)
    harness.reopen()
    harness.advance(1)
    assert names(harness) == []
    harness.advance(0.5 * HOUR - 601)
    assert names(harness) == ["a"]


def test_a_retry_waits_no_longer_than_its_back_off_when_the_clock_is_set_back(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=1, backoff=10)])
    (lease,) = harness.queue.lease("s", 1, 0)
    harness.advance(1)
    harness.queue.settle("s", [failed(lease, delay=10)])
    set_back(harness, crash=False)
    harness.advance(9)
    assert names(harness) == []
    harness.advance(1)
    assert names(harness) == ["a"]


def test_a_task_that_was_put_off_until_a_moment_of_the_right_clock_keeps_it_when_the_clock_is_set_back_a_little(
    harness: Harness,
) -> None:
    harness.queue.submit([task("a", delay=2 * HOUR)])
    harness.advance(1.5 * HOUR)
    set_back(harness, crash=False)
    harness.advance(1.25 * HOUR)
    assert names(harness) == []
    harness.advance(0.25 * HOUR)
    assert names(harness) == ["a"]


def test_a_clock_that_is_set_back_while_the_disk_is_full_is_heeded_once_there_is_room(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=1, backoff=10)])
    (lease,) = harness.queue.lease("s", 1, 0)
    harness.queue.settle("s", [failed(lease, delay=10)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.engine.store, "change_many", refuse)
        with pytest.raises(StoreFull):
            set_back(harness, crash=False)
    harness.advance(10)
    assert names(harness) == ["a"]


def refuse(*_: object) -> int:
    raise StoreFull("the disk is full")
