"""What a queue promises of leases, outcomes and sessions: each test's name is the promise, its body the transcript."""

from __future__ import annotations

import pytest

from master import sql
from master.committer import LEASE
from master.engine import SUSPECT_AFTER
from taskyard.errors import Unreachable
from taskyard.model import Outcome, Result
from taskyard.transport import RemoteQueue
from tests.harness import LEASE_TIME, Harness, InThread, done, failed, released, task

DEATH = "signal: SIGKILL (9)"


def only_result(queue: RemoteQueue) -> Result:
    (result,) = queue.results("job", 0, 10, 0)
    return result


# Outcomes


def test_an_outcome_counts_once(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    (lease,) = harness.queue.lease("s", 1, 0)
    assert harness.queue.settle("s", [done(lease, b"first"), done(lease, b"second")]) == 1
    assert harness.queue.settle("s", [done(lease, b"third"), failed(lease), released(lease)]) == 0
    assert only_result(harness.queue).value == b"first"


def test_a_wrong_token_moves_nothing_but_a_first_done(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    (lease,) = harness.queue.lease("s", 1, 0)
    wrong = lease._replace(token=lease.token + 1)
    assert harness.queue.settle("s", [failed(wrong), released(wrong), Outcome("unknown", 1, "done")]) == 0
    assert harness.queue.stats()["leased"] == 1
    assert harness.queue.settle("s", [done(lease)]) == 1


def test_a_late_done_of_a_lost_lease_is_taken_if_it_is_the_first_and_never_twice(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    (lost,) = harness.queue.lease("slow", 1, 0)
    harness.advance(LEASE_TIME + 1)
    (lease,) = harness.another().lease("quick", 1, 0)
    assert harness.queue.settle("slow", [done(lost, b"late")]) == 1
    assert harness.queue.settle("quick", [done(lease, b"later")]) == 0
    assert (only_result(harness.queue).value, harness.queue.stats()["leased"]) == (b"late", 0)


def test_a_late_failure_of_a_lost_lease_does_not_count(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    (lost,) = harness.queue.lease("slow", 1, 0)
    harness.advance(LEASE_TIME + 1)
    (lease,) = harness.another().lease("quick", 1, 0)
    assert harness.queue.settle("slow", [failed(lost), released(lost)]) == 0
    assert harness.queue.settle("quick", [done(lease)]) == 1
    assert only_result(harness.queue).attempts == 1


def test_an_exception_fails_a_task_at_once(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    assert harness.queue.settle("s", [failed(harness.queue.lease("s", 1, 0)[0], "exception: KeyError")]) == 1
    assert only_result(harness.queue)[1:] == ("a", "failed", b"error", "exception: KeyError", 1)


def test_a_death_is_retried_twice_after_a_growing_pause_and_then_its_cause_is_the_result(harness: Harness) -> None:
    harness.queue.submit([task("a", backoff=10)])
    for attempt, pause in ((1, 10), (2, 20)):
        (lease,) = harness.queue.lease("s", 1, 0)
        assert lease.attempt == attempt
        harness.queue.settle("s", [failed(lease, "out of memory")])
        assert harness.queue.stats()["delayed"] == 1
        harness.advance(pause * 0.85)
        assert harness.queue.lease("s", 1, 0) == []
        harness.advance(pause * 0.3)
    harness.queue.settle("s", [failed(harness.queue.lease("s", 1, 0)[0], DEATH)])
    assert only_result(harness.queue)[1:] == ("a", "failed", b"error", DEATH, 3)


@pytest.mark.parametrize("cause", ["exception: OSError", DEATH])
def test_retries_that_were_asked_for_follow_any_cause(harness: Harness, cause: str) -> None:
    harness.queue.submit([task("a", retries=1), task("b", retries=0)])
    a, b = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [failed(a, cause), failed(b, cause)])
    assert only_result(harness.queue).id == "b"
    harness.advance(2)
    harness.queue.settle("s", [failed(harness.queue.lease("s", 1, 0)[0], cause)])
    assert [(r.id, r.attempts) for r in harness.queue.results("job", 0, 10, 0)] == [("b", 1), ("a", 2)]


def test_a_final_failure_is_the_last_attempt_however_many_there_might_be(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=5), task("b", retries=5)])
    a, b = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [failed(a)._replace(final=True), failed(b)])
    assert only_result(harness.queue)[1:] == ("a", "failed", b"error", "exception: ValueError", 1)


def test_a_worker_may_choose_the_pause_before_the_next_attempt(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=5), task("b"), task("c", retries=5)])
    a, b, c = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [failed(a, delay=25), released(b, delay=25), failed(c, delay=0)])
    harness.advance(1)
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["c"]
    harness.advance(23)
    assert harness.queue.lease("s", 10, 0) == []
    harness.advance(2)
    assert [(lease.id, lease.attempt) for lease in harness.queue.lease("s", 10, 0)] == [("a", 2), ("b", 1)]


def test_a_released_task_keeps_its_place_and_no_attempt_is_counted(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=0), task("b")])
    for _ in range(5):
        (lease,) = harness.queue.lease("s", 1, 0)
        assert (lease.id, lease.attempt) == ("a", 1)
        assert harness.queue.settle("s", [released(lease)]) == 1
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["a", "b"]


# Sessions


def test_a_silent_session_loses_its_leases_after_the_lease_time(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.lease("silent", 1, 0)
    harness.advance(LEASE_TIME - 1)
    assert harness.another().lease("other", 1, 0) == []
    harness.advance(2)
    assert [lease.attempt for lease in harness.another().lease("other", 1, 0)] == [1]


def test_a_heartbeat_keeps_all_leases_of_its_session(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b")])
    leases = harness.queue.lease("s", 2, 0)
    beating = harness.another()
    for _ in range(5):
        harness.advance(LEASE_TIME * 0.9)
        assert beating.heartbeat("s", {"host": "h"}).stop == []
    assert harness.queue.settle("s", [failed(lease) for lease in leases]) == 2


def test_leaving_gives_everything_back_at_once_and_counts_nothing(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b")])
    harness.queue.lease("s", 2, 0)
    assert harness.queue.leave("s") == 2
    assert harness.queue.leave("s") == 0
    assert [(lease.id, lease.attempt) for lease in harness.another().lease("t", 1, 0)] == [("a", 1)]


def test_a_closed_connection_gives_its_leases_to_who_waits(harness: Harness) -> None:
    dying, waiting = harness.another(), harness.another()
    harness.queue.submit([task("a")])
    dying.lease("s", 1, 0)
    next_lease = InThread(lambda: waiting.lease("t", 1, 20))
    harness.close(dying)
    assert [lease.id for lease in next_lease.result()] == ["a"]


def test_a_connection_that_closes_while_it_waits_for_more_gives_back_what_it_holds(manager: Harness) -> None:
    dying, waiting = manager.another(), manager.another()
    manager.queue.submit([task("a")])
    dying.lease("s", 1, 0)
    for_more = InThread(lambda: dying.lease("s", 1, 20))
    manager.wait_until_one_waits(LEASE)
    next_lease = InThread(lambda: waiting.lease("t", 1, 20))
    manager.close(dying)
    assert [lease.id for lease in next_lease.result()] == ["a"]
    with pytest.raises(Unreachable):
        for_more.result()


def test_only_the_connection_that_leased_holds_the_leases(harness: Harness) -> None:
    beating = harness.another()
    harness.queue.submit([task("a")])
    (lease,) = harness.queue.lease("s", 1, 0)
    beating.heartbeat("s", {"host": "h"})
    harness.close(beating)
    assert harness.queue.settle("s", [failed(lease)]) == 1


def test_a_session_that_comes_back_on_another_connection_starts_with_nothing(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b", delay=1)])
    (before,) = harness.queue.lease("s", 1, 0)
    again = harness.another()
    (after,) = again.lease("s", 1, 0)
    assert (after.id, after.attempt) == ("a", 1)
    harness.close(harness.queue)
    assert again.settle("s", [failed(before)]) == 0
    assert again.settle("s", [done(after)]) == 1


def test_workers_are_told_as_they_told_of_themselves(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    assert harness.queue.workers() == []
    told = {"host": "h1", "slots": 4, "busy": 1, "tasks": ["add", "work"], "python": "3.13"}
    more = {"pid": 7, "version": "1.2.3", "cpu": 1.5, "memory": 10_000_000, "started": 1_699_999_000.5}
    harness.queue.heartbeat("s", told | more)
    harness.queue.lease("s", 1, 0)
    harness.advance(3)
    (worker,) = harness.queue.workers()
    expected = ("s", "h1", 4, 1, ("add", "work"), 1, 3.0, "3.13", *more.values(), 0.0, False, False)
    assert worker._replace(tasks=tuple(worker.tasks)) == expected
    assert harness.queue.stats()["workers"] == 1


def test_workers_that_left_or_were_lost_are_told_behind_the_others_with_the_moment(harness: Harness) -> None:
    start = harness.time.wall
    for session in ("lost", "left", "cut off", "alive"):
        harness.queue.heartbeat(session, {"host": "h", "tasks": ["work"]})
    harness.queue.lease("never said who it was", 1, 0)
    cut_off = harness.another()
    cut_off.lease("cut off", 1, 0)
    harness.advance(10)
    harness.queue.leave("left")
    harness.advance(5)
    harness.close(cut_off)
    harness.advance(LEASE_TIME - 16)
    harness.queue.heartbeat("alive", {"host": "h"})
    harness.advance(2)
    told = [(worker.session, worker.left and worker.left - start, worker.lost) for worker in harness.queue.workers()]
    assert told == [("alive", 0, False), ("lost", 31, True), ("cut off", 15, True), ("left", 10, False)]
    assert harness.queue.stats()["workers"] == 1
    harness.queue.heartbeat("cut off", {"host": "h"})
    assert [worker.session for worker in harness.queue.workers() if not worker.left] == ["alive", "cut off"]
    assert [worker.session for worker in harness.queue.workers() if worker.left] == ["lost", "left"]


def test_the_last_fifty_workers_that_left_are_told(harness: Harness) -> None:
    for number in range(60):
        harness.queue.heartbeat(str(number), {"host": "h"})
        harness.queue.leave(str(number))
    assert [worker.session for worker in harness.queue.workers()] == [str(number) for number in range(59, 9, -1)]


# Waiting


def test_a_lease_that_waits_is_woken_by_a_submit(harness: Harness) -> None:
    waiting = harness.another()
    lease = InThread(lambda: waiting.lease("s", 1, 20))
    harness.queue.submit([task("a")])
    assert [leased.id for leased in lease.result()] == ["a"]


def test_a_lease_that_waits_is_woken_by_a_task_that_is_due(harness: Harness) -> None:
    waiting = harness.another()
    harness.queue.submit([task("a", delay=10)])
    lease = InThread(lambda: waiting.lease("s", 1, 20))
    harness.advance(11)
    assert [leased.id for leased in lease.result()] == ["a"]


def test_waiting_for_a_lease_ends_empty_when_the_time_is_over(harness: Harness) -> None:
    assert harness.queue.lease("s", 1, 0.05) == []


def test_many_that_wait_get_one_each(harness: Harness) -> None:
    connections = [harness.another() for _ in range(8)]
    waiting = [InThread(lambda q=q, n=n: q.lease(f"s{n}", 1, 20)) for n, q in enumerate(connections)]  # type: ignore[misc]
    for n in range(8):
        harness.queue.submit([task(str(n))])
    assert sorted(lease.id for call in waiting for lease in call.result()) == [str(n) for n in range(8)]


def test_waiting_for_a_lease_is_no_sign_of_life(harness: Harness) -> None:
    frozen = harness.another()
    harness.queue.submit([task("a"), task("b", name="other", delay=20)])
    frozen.lease("frozen", 1, 0)
    waiting = InThread(lambda: frozen.lease("frozen", 1, 20, ["nothing"]))
    harness.wait_until_one_waits(LEASE)
    harness.advance(20)  # b is ready, so whoever waits is asked what it wants
    assert harness.queue.lease("t", 1, 0, ["other"])
    harness.advance(LEASE_TIME - 20)
    assert [lease.id for lease in harness.queue.lease("t", 1, 0)] == ["a"]
    assert waiting.result() == []


def test_a_session_that_was_not_heard_of_for_a_lease_time_is_lent_nothing_though_it_waits(harness: Harness) -> None:
    frozen = harness.another()
    waiting = InThread(lambda: frozen.lease("frozen", 1, 20))
    harness.wait_until_one_waits(LEASE)
    harness.advance(LEASE_TIME)
    harness.queue.submit([task("a")])
    assert waiting.result() == []
    assert [lease.id for lease in harness.queue.lease("t", 1, 0)] == ["a"]


def test_while_the_master_stands_still_no_session_ends(harness: Harness) -> None:
    def stand_still() -> None:  # as if the machine had been paused, and its clocks had gone on
        harness.committer._due -= 2 * LEASE_TIME

    harness.queue.submit([task("a")])
    harness.queue.lease("s", 1, 0)
    harness.committer.call(stand_still)
    harness.advance(LEASE_TIME)
    assert harness.queue.find("ready", None, 10, 0) == []
    harness.advance(2 * LEASE_TIME + 1)
    assert [found.id for found in harness.queue.find("ready", None, 10, 0)] == ["a"]


def test_a_session_that_drains_gets_nothing_and_its_waiting_ends(harness: Harness) -> None:
    waiting = harness.another()
    lease = InThread(lambda: waiting.lease("s", 1, 20))
    harness.queue.heartbeat("s", {"host": "h", "draining": True})
    assert lease.result() == []
    harness.queue.submit([task("a")])
    assert waiting.lease("s", 1, 20) == []


def test_only_tasks_of_the_asked_names_are_leased(harness: Harness) -> None:
    harness.queue.submit([task("a", name="one", priority=9), task("b", name="two"), task("c", name="three", priority=1)])
    assert harness.queue.lease("s", 10, 0, []) == []
    assert harness.queue.lease("s", 10, 0, ["four"]) == []
    assert [lease.id for lease in harness.queue.lease("s", 10, 0, ["two", "three"])] == ["c", "b"]
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["a"]


def test_the_last_tasks_are_shared_among_all_sessions(harness: Harness) -> None:
    other = harness.another()
    harness.queue.heartbeat("s", {"host": "h"})
    other.heartbeat("t", {"host": "h"})
    harness.queue.submit([task(str(n)) for n in range(8)])
    assert [len(queue.lease(name, 100, 0)) for queue, name in ((harness.queue, "s"), (other, "t"))] == [4, 2]


# Tasks that nobody should run, or that kill who runs them


def test_a_task_that_no_worker_knows_fails_after_the_lease_time_and_says_what_is_known(harness: Harness) -> None:
    harness.queue.submit([task("a", name="typo"), task("b", name="add")])
    harness.advance(LEASE_TIME * 2)
    assert harness.queue.results("job", 0, 10, 0) == [], "without any worker they wait"
    for _ in range(4):
        harness.queue.heartbeat("s", {"host": "h", "tasks": ["add", "mul"]})
        harness.advance(LEASE_TIME * 0.4)
    result = only_result(harness.queue)
    assert (result.id, result.state) == ("a", "failed")
    assert result.cause == "unknown task: no worker knows 'typo'; they know add, mul"
    assert [lease.id for lease in harness.queue.lease("s", 10, 0)] == ["b"]


def test_an_unknown_task_waits_for_a_worker_that_comes_in_time(harness: Harness) -> None:
    harness.queue.submit([task("a", name="new")])
    for known in (["old"], ["old"], ["old", "new"], ["old"], ["old"]):
        harness.queue.heartbeat("s", {"host": "h", "tasks": known})
        harness.advance(LEASE_TIME * 0.4)
    assert harness.queue.results("job", 0, 10, 0) == []


def test_a_task_lost_with_its_worker_again_and_again_is_leased_alone_and_fails_in_the_end(harness: Harness) -> None:
    harness.queue.submit([task("poison", priority=1, backoff=1), task("a")])

    def run_and_die() -> list[tuple[str, int]]:
        dying = harness.another()
        leases = dying.lease("s", 10, 0)
        assert dying.lease("s", 10, 0) == [], "nothing is added to a task that runs alone"
        harness.close(dying)
        harness.advance(5)
        return [(lease.id, lease.attempt) for lease in leases]

    for _ in range(SUSPECT_AFTER):
        assert run_and_die() == [("poison", 1), ("a", 1)]
    assert [run_and_die() for _ in range(3)] == [[("poison", attempt)] for attempt in (1, 2, 3)]
    assert only_result(harness.queue)[1:4] == ("poison", "failed", b"")
    assert only_result(harness.queue).cause.startswith("worker lost")
    harness.queue.settle("t", [done(lease) for lease in harness.queue.lease("t", 10, 0)])
    assert [result.id for result in harness.queue.results("job", 0, 10, 0)] == ["poison", "a"]


def test_a_suspect_task_that_succeeds_alone_is_done(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    for _ in range(SUSPECT_AFTER):
        dying = harness.another()
        dying.lease("s", 1, 0)
        harness.close(dying)
    (lease,) = harness.queue.lease("t", 1, 0)
    harness.queue.settle("t", [done(lease)])
    assert only_result(harness.queue)[1:] == ("a", "done", b"value", "", 1)


def test_more_tasks_than_one_chore_handles_become_due_together(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.chores.CHORES_LIMIT", 3)
    harness.queue.submit([task(str(n), delay=1, result_ttl=1) for n in range(8)])
    harness.advance(2)
    leases = harness.queue.lease("s", 100, 0)
    assert len(leases) == 8
    harness.queue.settle("s", [done(lease) for lease in leases])
    for _ in range(4):
        harness.advance(2)
    assert harness.queue.stats()["done"] == 0
    assert harness.engine.store.rows(sql.COUNT_STATES) == []
