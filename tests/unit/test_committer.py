"""Many callers, one commit: who is answered when, and what happens when the disk refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from structlog.testing import capture_logs

from master.committer import LEASE, TURN_CALLS, Call, Committer
from master.engine import Engine
from master.store import Store
from taskyard.errors import BadRequest, StoreBroken, StoreFull
from taskyard.model import Lease
from tests.harness import InThread, done, task

MEGABYTE = b"x" * 2**20


class WatchedEngine(Engine):
    """Counts the commits that wrote something; the first of them waits for ``may_commit``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.commits = 0
        self.committing = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()

    def commit(self) -> bool:
        if self.store._db.in_transaction:
            self.committing.set()
            assert self.may_commit.wait(10)
        changed = super().commit()
        self.commits += changed
        return changed


@pytest.fixture
def engine(tmp_path: Path) -> WatchedEngine:
    return WatchedEngine(Store(tmp_path))


@pytest.fixture
def committer(engine: WatchedEngine) -> Iterator[Committer]:
    """Not started yet, so that a test decides what the first turn finds."""
    made = Committer(engine)
    yield made
    if not made._thread.is_alive() and not made.ended.is_set():
        made.start()
    made.stop()


def ask(committer: Committer, *runs: Callable[[], Any]) -> list[Call]:
    """Calls that have come in, in this order."""
    calls = [Call(run) for run in runs]
    for call in calls:
        committer._inbox.put(call)
    return calls


def answer_of(call: Call) -> Any:
    assert call.answered.acquire(timeout=10), "the call is not answered"
    return call.value if call.error is None else call.error


def submit(engine: Engine, *ids: str, payload: bytes = b"") -> partial[int]:
    return partial(engine.submit, [task(task_id, payload=payload) for task_id in ids])


def ids_on_disk(folder: Path) -> list[str]:
    with closing(Store(folder)) as store:
        return [task_id for (task_id,) in store.rows("SELECT id FROM task ORDER BY seq")]


# One commit for many


def test_calls_that_came_in_together_share_one_commit(committer: Committer, engine: WatchedEngine) -> None:
    calls = ask(committer, *(submit(engine, str(n)) for n in range(20)))
    committer.start()
    assert [answer_of(call) for call in calls] == [1] * 20
    assert engine.commits == 1


class CountedInbox(SimpleQueue[Call | None]):
    """Tells when a call has come in."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)

    def put(self, item: Call | None, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        self.came.release()


def test_callers_that_come_while_a_commit_is_under_way_share_the_next_one(committer: Committer, engine: WatchedEngine) -> None:
    committer._inbox = inbox = CountedInbox()
    committer.start()
    engine.may_commit.clear()
    first = InThread(partial(committer.call, submit(engine, "first")))
    assert engine.committing.wait(10)
    callers = [InThread(partial(committer.call, submit(engine, str(n)))) for n in range(20)]
    assert all(inbox.came.acquire(timeout=10) for _ in range(21))
    engine.may_commit.set()
    assert [caller.result() for caller in (first, *callers)] == [1] * 21
    assert engine.commits == 2


def test_nobody_is_answered_before_the_commit(committer: Committer, engine: WatchedEngine) -> None:
    engine.may_commit.clear()
    calls = ask(committer, submit(engine, "a"), submit(engine, "b"))
    committer.start()
    assert engine.committing.wait(10)
    assert [call.answered.locked() for call in calls] == [True, True]
    engine.may_commit.set()
    assert [answer_of(call) for call in calls] == [1, 1]


def test_what_was_answered_is_on_the_disk_though_the_master_is_killed_now(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    committer.start()
    assert committer.call(submit(engine, "a")) == 1
    # What a killed process leaves behind, without anything that closing would add.
    left = tmp_path / "left"
    left.mkdir()
    for file in (engine.store.path, engine.store.path.with_name("taskyard.db-wal")):
        (left / file.name).write_bytes(file.read_bytes())
    assert ids_on_disk(left) == ["a"]


def test_a_refused_call_costs_the_others_neither_their_answer_nor_a_commit(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    first, wrong, last = ask(committer, submit(engine, "a"), partial(engine.submit, "nonsense"), submit(engine, "b"))
    committer.start()
    assert (answer_of(first), answer_of(last)) == (1, 1)
    assert isinstance(answer_of(wrong), BadRequest)
    assert engine.commits == 1


def test_a_call_that_fails_halfway_changes_nothing_and_does_not_take_the_others_down(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    def fail_halfway() -> None:
        submit(engine, "half")()
        raise ZeroDivisionError

    first, wrong, last = ask(committer, submit(engine, "a"), fail_halfway, submit(engine, "b"))
    committer.start()
    assert (answer_of(first), answer_of(last)) == (1, 1)
    assert isinstance(answer_of(wrong), ZeroDivisionError)
    assert committer.call(engine.stats)["ready"] == 2
    committer.stop()
    assert ids_on_disk(tmp_path) == ["a", "b"]


def test_a_call_that_waits_is_answered_in_the_turn_that_brings_what_it_waits_for(
    committer: Committer, engine: WatchedEngine
) -> None:
    waiting = Call(partial(engine.lease, "connection", "s", 1, None), LEASE, 60)
    committer._inbox.put(waiting)
    committer.start()
    for _ in range(2):  # the second one's turn begins after the waiting call was tried
        committer.call(engine.stats)
    assert waiting.tried
    assert waiting.answered.locked()
    committer.call(submit(engine, "a"))
    assert [lease[0] for lease in answer_of(waiting)] == ["a"]
    committer.call(submit(engine, "b"))
    assert committer.call(engine.stats)["leased"] == 1  # it was answered once and waits no more


@pytest.mark.parametrize("error", [BadRequest("no"), ZeroDivisionError()])
def test_a_call_that_fails_is_told_at_once_however_long_it_would_wait(committer: Committer, error: Exception) -> None:
    def fail() -> None:
        raise error

    failing = Call(fail, LEASE, 60)
    committer._inbox.put(failing)
    committer.start()
    assert answer_of(failing) is error


def test_a_call_that_has_waited_its_time_is_told_that_there_is_nothing(committer: Committer) -> None:
    waiting = Call(lambda: None, LEASE, 0.05)
    committer._inbox.put(waiting)
    committer.start()
    assert answer_of(waiting) is None


def test_what_is_told_without_waiting_is_done_too(committer: Committer, engine: WatchedEngine, tmp_path: Path) -> None:
    committer.tell(submit(engine, "a"))
    committer.start()
    committer.stop()
    assert ids_on_disk(tmp_path) == ["a"]


# A full disk


@pytest.fixture
def full(committer: Committer, engine: WatchedEngine) -> Committer:
    """Two tasks, one of them leased; the file can't grow."""
    committer.start()
    committer.call(submit(engine, "a", "b"))
    committer.call(partial(let_grow, engine, 0))
    return committer


def let_grow(engine: Engine, pages: int) -> None:
    (now,) = engine.store.rows("SELECT * FROM pragma_page_count")[0]
    engine.store._db.execute(f"PRAGMA max_page_count={now + pages}").fetchall()


def lease(committer: Committer, engine: Engine, limit: int) -> list[Lease]:
    return list(map(Lease._make, committer.call(partial(engine.lease, "connection", "s", limit, None), LEASE) or []))


def test_a_full_disk_refuses_a_submit_and_takes_nothing_of_it(full: Committer, engine: WatchedEngine) -> None:
    with pytest.raises(StoreFull, match="free some space"):
        full.call(submit(engine, "small", "big", payload=MEGABYTE))
    assert full.call(engine.stats)["ready"] == 2
    assert full.call(partial(engine.find, "ready", None, 10, 0))[-1][0] == "b"


def test_a_call_that_finds_no_room_does_not_take_the_others_down(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    small, big, last = ask(committer, submit(engine, "small"), submit(engine, "big", payload=MEGABYTE), submit(engine, "last"))
    let_grow(engine, 0)
    committer.start()
    assert (answer_of(small), answer_of(last)) == (1, 1)
    assert isinstance(answer_of(big), StoreFull)
    assert committer.call(partial(engine.jobs, "job", 1, 0))[0][2:] == (2, 0, 0, 0)
    committer.stop()
    assert ids_on_disk(tmp_path) == ["small", "last"]


def test_on_a_full_disk_tasks_are_leased_and_settled_once_there_is_room(full: Committer, engine: WatchedEngine) -> None:
    leases = lease(full, engine, 2)
    assert [held.id for held in leases] == ["a", "b"]
    outcomes = [done(held, MEGABYTE) for held in leases]
    with pytest.raises(StoreFull):
        full.call(partial(engine.settle, "s", outcomes))
    stats = full.call(engine.stats)
    assert (stats["leased"], stats["ready"], stats["done"]) == (2, 0, 0)
    full.call(partial(let_grow, engine, 10_000))
    assert full.call(partial(engine.settle, "s", outcomes)) == 2
    assert [row[3] == MEGABYTE for row in full.call(partial(engine.results, "job", 0, 10))] == [True, True]


def test_the_log_says_once_that_the_disk_is_full_and_once_that_there_is_room(full: Committer, engine: WatchedEngine) -> None:
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StoreFull):
                full.call(submit(engine, "big", payload=MEGABYTE))
        full.call(partial(let_grow, engine, 10_000))
        for n in range(3):
            full.call(submit(engine, str(n), payload=MEGABYTE))
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "nothing can be written"),
        ("warning", "there is room on the disk again"),
    ]
    assert str(engine.store.path) in lines[0]["error"]


def test_a_chore_that_finds_no_room_is_done_later_and_the_queue_goes_on(
    full: Committer, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick, refused = engine.tick, []

    def chore() -> float:
        try:
            submit(engine, "of the chore", payload=MEGABYTE)()
        except StoreFull as error:
            refused.append(error)
            raise
        return tick()

    monkeypatch.setattr(engine, "tick", chore)
    assert [held.id for held in lease(full, engine, 2)] == ["a", "b"]
    for _ in range(3):  # chores come before every call
        assert full.call(engine.stats)["leased"] == 2
    assert refused
    full.call(partial(let_grow, engine, 10_000))
    assert [held.id for held in lease(full, engine, 2)] == ["of the chore"]


# The end


def test_a_store_that_breaks_ends_the_committer_and_everybody_is_told_why(committer: Committer, engine: WatchedEngine) -> None:
    committer.start()
    committer.call(submit(engine, "a"))
    waiting = InThread(partial(committer.call, lambda: None, ("item", ""), 60))
    with capture_logs() as lines:
        committer.call(lambda: engine.store._db.execute("PRAGMA query_only=1"))
        with pytest.raises(StoreBroken, match="mount it read-write"):
            committer.call(submit(engine, "b"))
        assert committer.ended.wait(10)
    assert isinstance(committer.broken, StoreBroken)
    for late in (partial(committer.call, engine.stats), waiting.result):
        with pytest.raises(StoreBroken, match="mount it read-write"):
            late()
    assert [line["event"] for line in lines] == ["the queue stops"]


def test_stop_answers_all_that_has_come_in(committer: Committer, engine: WatchedEngine, tmp_path: Path) -> None:
    calls = ask(committer, *(submit(engine, str(n)) for n in range(TURN_CALLS + 100)))
    committer.start()
    committer.stop()
    assert [answer_of(call) for call in calls] == [1] * (TURN_CALLS + 100)
    assert ids_on_disk(tmp_path) == [str(n) for n in range(TURN_CALLS + 100)]
    assert engine.commits == 2
    assert committer.broken is None


def test_after_a_stop_a_call_ends_as_with_a_closed_connection(committer: Committer, engine: WatchedEngine) -> None:
    committer.start()
    committer.stop()
    with pytest.raises(EOFError):  # which ends the connection, so that its client comes back when there is a master again
        committer.call(engine.stats)


def test_a_broken_store_met_by_a_call_that_waits_ends_the_committer_too(committer: Committer) -> None:
    def broken() -> None:
        raise StoreBroken("the disk is gone")

    committer.start()
    with pytest.raises(StoreBroken, match="the disk is gone"):
        committer.call(broken, ("item", ""), 60)
    assert committer.ended.wait(10)
    assert isinstance(committer.broken, StoreBroken)


def test_a_caller_that_has_gone_is_given_nothing_and_waits_no_more(committer: Committer, engine: WatchedEngine) -> None:
    gone = threading.Event()
    committer.start()
    lease = partial(engine.lease, "connection", "s", 1, None)
    waiting = InThread(partial(committer.call, lease, LEASE, 60, gone.is_set))
    gone.set()
    assert committer.call(submit(engine, "a")) == 1
    with pytest.raises(EOFError):
        waiting.result()
    assert committer.call(engine.stats)["ready"] == 1
